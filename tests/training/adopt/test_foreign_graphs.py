"""The foreign graphs that other tests adopt are what they claim to be."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support import foreign_graphs, foreign_refused, foreign_torch
from tests.support.foreign_graphs import GENERATOR, WEIGHTS

QUICK = {**foreign_graphs.MAKERS, **{name: foreign_torch.MAKERS[name] for name in ("dcgan_opset_7", "training_mode")}}
LARGEST = 200_000  # bytes
READABLE = set(foreign_refused.MAKERS) - {"missing_external_data", "truncated", "not_onnx", "empty"}


@pytest.mark.parametrize("name", QUICK)
def test_a_foreign_gan_is_small_valid_and_the_same_each_time(name: str, tmp_path: Path) -> None:
    gan = QUICK[name]()
    assert gan.files == QUICK[name]().files
    assert max(len(content) for content in gan.files.values()) < LARGEST
    for file, content in gan.files.items():
        (tmp_path / file).write_bytes(content)
    for file in set(gan.files) - {WEIGHTS}:
        onnx.checker.check_model(tmp_path / file, full_check=True)


@pytest.mark.parametrize("name", QUICK)
def test_the_right_images_of_a_foreign_gan_depend_on_latent_and_label(name: str) -> None:
    gan = QUICK[name]()
    latents = np.random.default_rng(0).standard_normal((2, gan.latent_size)).astype(np.float32)
    images = gan.pixels(latents)
    channels, height, width = gan.shape
    assert images.shape == (2, height, width, channels)
    assert images.std() > 5  # of 255: a picture, and not grey
    assert (images[0] != images[1]).any()
    assert (images != gan.pixels(latents, np.ones(2, np.int64))).any() == bool(gan.classes)


@pytest.mark.parametrize("name", foreign_refused.MAKERS)
def test_a_graph_to_refuse_has_its_one_damage(name: str) -> None:
    content = foreign_refused.MAKERS[name]().files[GENERATOR]
    if name in READABLE:
        onnx.checker.check_model(content, full_check=True)
    else:
        with pytest.raises((onnx.checker.ValidationError, ValueError)):
            onnx.checker.check_model(content, full_check=True)
