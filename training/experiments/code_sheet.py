"""What each code of a generator of images does, as one picture: the InfoGAN paper's figure 2.

    category 0 │ ten latents, the other codes at their middle │ the first continuous code, low to high │ the next │ …
    category 1 │ the same latents                             │ of the first latent                    │          │

References:
    Chen et al., InfoGAN (2016), section 7.2 and figure 2.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.codes import Codes
from training.packaging.interface import CODE, LATENT, PIXELS
from training.packaging.runtime import Graph
from training.pictures import GAP_SHADE

STEPS: Final = 10  # of each continuous code
GAP: Final = 8  # pixels between two blocks

Pixels = NDArray[np.uint8]


def code_sheet(generator: Graph, codes: Codes, latents: NDArray[np.float32]) -> Image.Image:
    """Draw every category of the first categorical code, and in each the steps of every continuous one.

    Args:
        generator: exported, of grey images.
        codes: its codes, one of them categorical.
        latents: [N, Z], one for each column of the first block.

    Returns:
        One image.
    """

    def row(category: int) -> list[Pixels]:
        still = np.repeat(_asked(codes, category), len(latents), axis=0)
        blocks = [_beside(generator, still, latents)]
        for place, (low, high) in enumerate(codes.intervals):
            swept = np.repeat(_asked(codes, category), STEPS, axis=0)
            swept[:, sum(codes.sizes) + place] = np.linspace(low, high, STEPS)
            blocks.append(_beside(generator, swept, np.repeat(latents[:1], STEPS, axis=0)))
        return blocks

    columns = [np.concatenate(blocks) for blocks in zip(*map(row, range(codes.sizes[0])), strict=True)]
    gap = np.full((len(columns[0]), GAP), GAP_SHADE, np.uint8)
    parts = [part for column in columns for part in (gap, column)][1:]
    return Image.fromarray(np.concatenate(parts, axis=1))


def _asked(codes: Codes, category: int) -> NDArray[np.float32]:
    """[1, K]: a category of the first code, the first of any other, the middle of each continuous one."""
    chosen = [np.eye(size, dtype=np.float32)[0 if place else category] for place, size in enumerate(codes.sizes)]
    middles = np.array([(low + high) / 2 for low, high in codes.intervals], np.float32)
    return np.concatenate([*chosen, middles])[np.newaxis]


def _beside(generator: Graph, codes: NDArray[np.float32], latents: NDArray[np.float32]) -> Pixels:
    """Samples [N, H, W, 1] beside each other, [H, N W]."""
    pixels = generator.output(PIXELS, {LATENT: latents, CODE: codes})
    return np.concatenate(list(pixels[..., 0].astype(np.uint8)), axis=1)
