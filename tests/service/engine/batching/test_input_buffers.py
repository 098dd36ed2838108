"""A worker's buffers: what a run is given is what was written for it, whatever ran before."""

import numpy as np

from service.engine.batching.input_buffers import BatchInputs
from service.engine.model_spec import TensorSpec

TENSORS = (TensorSpec("z", "FP32", (-1, 3), "latent"), TensorSpec("y", "INT64", (-1,), "label"))


def fill(inputs: BatchInputs, size: int, value: int) -> None:
    """Write a whole batch."""
    inputs.begin(size)
    for rows in inputs.rows(0, size).values():
        rows[:] = value


def test_rows_of_several_requests_become_one_batch_without_a_copy() -> None:
    inputs = BatchInputs(TENSORS, kept=4)
    inputs.begin(4)
    first, second = inputs.rows(0, 3), inputs.rows(3, 4)
    first["latent"][:], second["latent"][:] = 1, 2
    first["label"][:], second["label"][:] = 3, 4
    feeds = inputs.feeds(4, 4)
    assert feeds["z"].tolist() == [[1, 1, 1]] * 3 + [[2, 2, 2]]
    assert feeds["y"].tolist() == [3, 3, 3, 4]
    assert np.shares_memory(feeds["z"], first["latent"])
    assert feeds["z"].dtype == np.float32
    assert feeds["y"].dtype == np.int64
    assert feeds["z"].flags.c_contiguous


def test_padding_is_zeros_and_nothing_of_an_earlier_batch() -> None:
    inputs = BatchInputs(TENSORS, kept=4)
    fill(inputs, 4, value=7)
    inputs.begin(4)
    inputs.rows(0, 1)["latent"][:] = 1
    inputs.rows(0, 1)["label"][:] = 1
    feeds = inputs.feeds(1, 4)
    assert feeds["z"].tolist() == [[1, 1, 1]] + [[0, 0, 0]] * 3
    assert feeds["y"].tolist() == [1, 0, 0, 0]


def test_batches_share_buffers_and_one_too_large_for_them_has_its_own() -> None:
    inputs = BatchInputs(TENSORS, kept=4)
    fill(inputs, 4, value=1)
    kept = inputs.feeds(4, 4)["z"]
    fill(inputs, 100, value=2)
    own = inputs.feeds(100, 100)["z"]
    assert own.shape == (100, 3)
    assert not np.shares_memory(own, kept)
    fill(inputs, 2, value=3)
    assert np.shares_memory(inputs.feeds(2, 2)["z"], kept)
