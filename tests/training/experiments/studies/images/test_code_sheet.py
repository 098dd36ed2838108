"""What codes do, as a picture: every place of it shows the codes that it is for."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from training.codes import Codes
from training.evaluation.pictures import GAP_SHADE
from training.experiments.studies.images.infogan_mnist import GAP, STEPS, code_sheet
from training.export.graphs.runtime import Graph

CODES = Codes(categorical={"digit": 3, "style": 2}, continuous={"slant": (-1.0, 1.0), "width": (0.0, 4.0)})
LATENTS = np.array([[1], [2]], np.float32)


class Painter:
    """Answers images of two by one pixels: what it was asked for as shades."""

    def output(self, name: str, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
        assert name == "pixels"
        latent, code = inputs["latent"][:, 0], inputs["code"]
        assert (code[:, :3].sum(1) == 1).all()
        assert (code[:, 3] == 1).all()  # the second code keeps its first category
        top = 50 * code[:, :3].argmax(1) + latent
        bottom = 10 * (code[:, 5] + 1) + 40 * code[:, 6]
        return np.stack([top, bottom], axis=1).round().astype(np.uint8)[:, :, None, None]


def test_rows_are_categories_and_blocks_latents_and_then_each_continuous_code_from_low_to_high() -> None:
    sheet = np.asarray(code_sheet(cast("Graph", Painter()), CODES, LATENTS))
    assert sheet.shape == (3 * 2, 2 + GAP + STEPS + GAP + STEPS)
    latents, slant, width = sheet[:, :2], sheet[:, 2 + GAP : 2 + GAP + STEPS], sheet[:, -STEPS:]
    for category in range(3):
        top, bottom = 2 * category, 2 * category + 1
        assert latents[top].tolist() == [50 * category + 1, 50 * category + 2]
        assert latents[bottom].tolist() == [10 + 80, 10 + 80]  # both continuous codes at their middle
        assert slant[top].tolist() == width[top].tolist() == [50 * category + 1] * STEPS
        assert slant[bottom].tolist() == (10 * np.linspace(0, 2, STEPS) + 80).round().tolist()
        assert width[bottom].tolist() == (10 + 40 * np.linspace(0, 4, STEPS)).round().tolist()
    assert (sheet[:, 2 : 2 + GAP] == GAP_SHADE).all()
