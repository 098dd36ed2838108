"""The stack id: a hash of everything that the bytes of a package's samples depend on in this process.

The bytes of a file depend on this project's encoders and on the libraries below them (ISA-L, zlib, libjpeg, libwebp),
whose output may differ between versions and processors. So each encoder encodes a test picture, and the hash of the
files stands for all of them.

Shapes: H height, W width, C channels.
"""

import hashlib
import json
from functools import cache

import numpy as np
from numpy.typing import NDArray

from service.media.encoders import IMAGE_ENCODERS, library_versions
from service.packages.registry import ServedPackage

TEST_SIDE = 64


@cache
def encoders_fingerprint() -> str:
    """SHA-256 of the libraries' versions and of each encoder's test picture."""
    seen = hashlib.sha256(json.dumps(library_versions()).encode())
    for name, write in IMAGE_ENCODERS.items():
        for channels in (1, 3):
            seen.update(name.encode() + write(_test_picture(channels)))
    return seen.hexdigest()


def _test_picture(channels: int) -> NDArray[np.uint8]:
    """A picture [H, W, C] with an edge, a ramp, a texture and noise, which encoders treat differently."""
    row, column, channel = np.indices((TEST_SIDE, TEST_SIDE, channels))
    noise = np.frombuffer(hashlib.shake_256(b"noise").digest(row.size), np.uint8).reshape(row.shape)
    texture = (row * row + column * (channel + 3)) % 256
    half = TEST_SIDE // 2
    above = np.where(column < half, 255 * (column > half // 2), texture)
    below = np.where(column < half, 2 * row + column, noise)
    return np.where(row < half, above, below).astype(np.uint8)


# 64 bits: a collision among the stacks of one package is out of the question.
ID_CHARACTERS = 16


def stack_id(package: ServedPackage) -> str:
    """The stack id of a package in this process, 16 hexadecimal digits."""
    parts = (package.sha256, package.report.generator.fingerprint, encoders_fingerprint())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:ID_CHARACTERS]
