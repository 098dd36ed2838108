"""Pictures: images side by side, vectors where they lie, numbers as histograms."""

import numpy as np
import pytest
import torch
from PIL import Image

from training.evaluation.pictures import classes_shown, contact_sheet, picture, samples_wanted

BLUE, GREY, WHITE = (30, 80, 160), (200, 200, 200), (255, 255, 255)
CORNERS = np.array([[-1.0, -1.0], [1.0, 1.0]], np.float32)


def drawn(samples: torch.Tensor, real: np.ndarray) -> Image.Image:
    image = picture(samples, real)
    assert image is not None
    return image


def places(image: Image.Image, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Where a colour is, in percent of the width and, from below, of the height."""
    rows, columns = (np.asarray(image) == colour).all(axis=2).nonzero()
    side = image.width
    return [(round(100 * x / side), round(100 * (side - y) / side)) for y, x in zip(rows, columns, strict=True)]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_sheet_is_laid_out_row_by_row_with_a_line_between(channels: int, mode: str) -> None:
    samples = torch.linspace(-1, 1, 16)[:, None, None, None].expand(16, channels, 2, 3)
    sheet = contact_sheet(samples)
    assert (sheet.mode, sheet.size) == (mode, (8 * 4, 2 * 3))
    pixels = np.asarray(sheet).reshape(6, 32, channels)[..., 0]
    assert [pixels[0, 0], pixels[0, 4], pixels[3, 0], pixels[4, 30]] == [0, 17, 136, 255]
    assert len({*pixels[:, 3].tolist(), *pixels[2].tolist()}) == 1


@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (10, 10), (16, 16), (100, 16)])
def test_a_sheet_of_classes_has_one_in_each_row(classes: int, rows: int) -> None:
    shown = classes_shown((1, 5, 5), classes)
    assert samples_wanted((1, 5, 5), classes) == len(shown) == 8 * rows
    assert (shown.reshape(rows, 8) == np.arange(rows)[:, None]).all()


def test_a_picture_of_images_is_a_sheet_of_twice_their_size() -> None:
    samples = torch.zeros(samples_wanted((1, 5, 5)), 1, 5, 5)
    assert drawn(samples, np.zeros((1, 1, 5, 5), np.uint8)).size == (8 * 6 * 2, 8 * 6 * 2)


def test_vectors_of_two_numbers_are_dots_where_they_lie_in_the_frame_of_the_real_ones() -> None:
    image = drawn(torch.tensor([[0.0, 0.5], [9.0, 9.0]]), CORNERS)
    assert places(image, BLUE) == [(50, 71)]
    assert places(image, GREY) == [(92, 92), (8, 8)]


def test_a_flat_frame_is_as_wide_in_every_direction() -> None:
    image = drawn(torch.tensor([[0.0, 0.0]]), np.array([[-1.0, 0.0], [1.0, 0.0]], np.float32))
    assert places(image, BLUE) == [(50, 50)]


def test_numbers_are_a_histogram_over_the_real_one() -> None:
    image = drawn(torch.full((10, 1), 0.5), np.array([[-1.0], [1.0], [1.0]], np.float32))
    grey = {across for across, _ in places(image, GREY)}
    assert {8, 92} <= grey  # two bars of a hundred, and little else
    assert len(grey) <= 8
    highest = max(up for _, up in places(image, BLUE))
    assert highest >= 99
    assert places(image, WHITE)


def test_vectors_of_more_numbers_have_no_picture() -> None:
    assert picture(torch.zeros(4, 3), np.zeros((4, 3), np.float32)) is None
