"""Pixels: the two formulas undo each other and round as the package's graph does."""

import torch

from training.data.pixels import to_bytes, to_floats


def test_every_byte_survives_the_way_to_floats_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_floats(every)), every)


def test_floats_span_minus_one_to_one() -> None:
    assert to_floats(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_a_tie_goes_to_the_even_byte() -> None:
    ties = torch.tensor([129 / 255 - 1, 0.0])  # 64.5 and 127.5
    assert to_bytes(ties).tolist() == [64, 128]


def test_values_outside_the_range_are_clipped() -> None:
    assert to_bytes(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]
