"""Batches: every image once an epoch, nothing depends on what was drawn before, parts make the whole."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.image_data import ImageData
from training.data.pixels import to_bytes
from training.networks.base import GeneratorKeys, Prior
from training.state.batches import LATENTS, ORDER, BatchStream, labels, latents, random_stream

CPU = torch.device("cpu")
COUNT = 10


def numbered() -> ImageData:
    """Ten images of 4x4, image k full of the byte k except for a dark left column; the label is k."""
    pixels = np.repeat(np.arange(1, COUNT + 1, dtype=np.uint8), 16).reshape(COUNT, 1, 4, 4)
    pixels[..., 0] = 0
    marks = np.arange(1, COUNT + 1)
    return ImageData("numbered", pixels, pixels, marks, marks, None, "", "")


def stream(
    batch_size: int = 4, *, seed: int = 0, horizontal_flips: bool = False, part: slice = slice(None)
) -> BatchStream:
    return BatchStream(
        numbered(),
        CPU,
        seed=seed,
        batch_size=batch_size,
        generator=GeneratorKeys(latent_size=3),
        horizontal_flips=horizontal_flips,
        part=part,
    )


def numbers(images: torch.Tensor) -> list[int]:
    return to_bytes(images)[:, 0, 0, 2].tolist()


@settings(deadline=None)
@given(batch_size=st.integers(1, 13))
def test_every_image_is_drawn_once_an_epoch_whatever_the_batch_size(batch_size: int) -> None:
    batches = stream(batch_size)
    drawn = [number for draw in range(40) for number in numbers(batches.real(draw)[0])]
    for epoch in range(40 * batch_size // COUNT):
        assert sorted(drawn[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(1, COUNT + 1))


def test_images_that_are_mapped_from_a_file_give_the_same_batches_and_are_not_copied(tmp_path: Path) -> None:
    data = numbered()
    np.save(tmp_path / "images.npy", data.train)
    kept = np.asarray(np.load(tmp_path / "images.npy", mmap_mode="c"))
    mapped = BatchStream(replace(data, train=kept), CPU, seed=0, batch_size=4, generator=GeneratorKeys(latent_size=3))
    for draw in range(5):
        assert torch.equal(mapped.real(draw)[0], stream().real(draw)[0])
    kept[:] = 77
    assert (mapped.stored(mapped.rows(0)) == 77).all()


def test_epochs_differ_in_order() -> None:
    batches = stream(COUNT)
    assert numbers(batches.real(0)[0]) != numbers(batches.real(1)[0])


def test_a_draw_does_not_depend_on_the_draws_before() -> None:
    fresh, used = stream(), stream()
    for draw in range(9):
        used.real(draw)
    assert torch.equal(fresh.real(9)[0], used.real(9)[0])
    assert torch.equal(fresh.latents(9), used.latents(9))


def test_other_data_begins_an_epoch_where_it_begins_and_its_order_is_a_function_of_the_counter() -> None:
    joined, first, second = stream(batch_size=5), [3, 4], [5, 6]
    joined.count_from(15)
    drawn = [[number for draw in epoch for number in numbers(joined.real(draw)[0])] for epoch in (first, second)]
    assert [sorted(epoch) for epoch in drawn] == [list(range(1, COUNT + 1))] * 2
    assert numbers(joined.real(4)[0]) == drawn[0][5:]
    of_former_data = [numbers(stream(batch_size=COUNT).real(epoch)[0]) for epoch in range(2)]
    assert len({tuple(order) for order in (*of_former_data, *drawn)}) == 4


def test_labels_stay_with_their_images() -> None:
    images, labels = stream().real(5)
    assert labels is not None
    assert numbers(images) == labels.tolist()


def test_the_parts_of_all_processes_make_the_whole_batch() -> None:
    whole, first, second = (stream(horizontal_flips=True, part=part) for part in (slice(4), slice(2), slice(2, 4)))
    assert torch.equal(torch.cat([first.real(3)[0], second.real(3)[0]]), whole.real(3)[0])
    assert torch.equal(torch.cat([first.latents(3), second.latents(3)]), whole.latents(3))


def test_another_seed_gives_other_latents_and_another_order() -> None:
    one, other = stream(COUNT, seed=1), stream(COUNT, seed=2)
    assert numbers(one.real(0)[0]) != numbers(other.real(0)[0])
    assert not torch.equal(one.latents(0), other.latents(0))


def test_streams_and_draws_share_no_numbers() -> None:
    words = [
        random_stream(0, stream_number, draw).integers(2**63, size=4).tobytes()
        for stream_number in (ORDER, LATENTS)
        for draw in (0, 1)
    ]
    assert len(set(words)) == 4


def test_latents_are_standard_normal() -> None:
    sample = latents(0, LATENTS, 0, 1_000, 100)
    assert float(sample.mean()) == pytest.approx(0, abs=0.02)
    assert float(sample.std()) == pytest.approx(1, abs=0.02)
    assert float(sample.pow(4).mean()) == pytest.approx(3, abs=0.1)  # the kurtosis of a normal, not of a uniform


def test_flips_mirror_half_of_the_images_and_are_off_by_default() -> None:
    plain, flipped = stream(), stream(horizontal_flips=True)
    dark_left = [bool(image[0, 0, 0] == -1) for draw in range(100) for image in flipped.real(draw)[0]]
    assert sum(dark_left) / len(dark_left) == pytest.approx(0.5, abs=0.1)
    assert all(bool(image[0, 0, 0] == -1) for draw in range(100) for image in plain.real(draw)[0])


@pytest.mark.parametrize(
    ("prior", "mean", "variance"),
    [("standard_normal", 0.0, 1.0), ("uniform", 0.0, 1 / 3), ("gumbel", 0.57722, math.pi**2 / 6)],
)
def test_latents_have_the_moments_of_their_prior(prior: Prior, mean: float, variance: float) -> None:
    drawn = latents(0, LATENTS, 0, 20_000, 4, prior)
    assert drawn.dtype == torch.float32
    assert drawn.mean().item() == pytest.approx(mean, abs=0.02)
    assert drawn.var().item() == pytest.approx(variance, rel=0.03)


def test_labels_are_drawn_evenly_and_repeat_by_their_draw() -> None:
    drawn = labels(0, LATENTS, 3, 3_000, 3)
    assert torch.equal(drawn, labels(0, LATENTS, 3, 3_000, 3))
    assert not torch.equal(drawn, labels(0, LATENTS, 4, 3_000, 3))
    assert torch.bincount(drawn).tolist() == pytest.approx([1_000] * 3, abs=100)


def test_numbers_that_are_no_bytes_are_taken_as_they_are() -> None:
    points = np.random.default_rng(0).standard_normal((COUNT, 2)).astype(np.float32)

    class Points:
        train, train_labels = points, None

    drawn, none = BatchStream(
        Points(),  # type: ignore[arg-type]  # all that the stream asks for
        CPU,
        seed=0,
        batch_size=COUNT,
        generator=GeneratorKeys(),
    ).real(0)
    assert none is None
    assert sorted(drawn.tolist()) == sorted(points.tolist())
