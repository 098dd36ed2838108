"""Inputs of a step: the same values in whatever way they come, and only those that were asked for before."""

import dataclasses

import numpy as np
import pytest
import torch

from training.augmentation import RandomNumbers
from training.codes import Codes
from training.data import DigitsConfig, digits
from training.networks.base import GeneratorKeys
from training.state.batches import AUGMENTATION, CODES, FLIPS, LATENTS, ORDER, BatchStream, codes, random_stream
from training.state.feeder import Feeder, Slots
from training.state.inputs import DirectInputs, HostInputs, Recipe, RecordedInputs, Request

CPU = torch.device("cpu")
DIGITS = digits.load(DigitsConfig())
SEED, BATCH, CRITIC_STEPS = 5, 48, 2
WHICH = Codes(categorical={"digit": 10}, continuous={"slant": (-1.0, 1.0)})
REQUESTS = [
    Request("rows", 1),
    Request("stored", 1),
    Request("mirrored", 1),
    Request("latents", 2),
    Request("codes", 2),
    Request("uniform", 0, AUGMENTATION, 3),
    Request("normal", 0, AUGMENTATION, 1),
    Request("uniform", 2, AUGMENTATION, 1),
    Request("scalar", name="rate"),
]


def recipe(part: slice = slice(None), rows: int = 100) -> Recipe:
    data = dataclasses.replace(DIGITS, train=DIGITS.train[:rows])
    keys = GeneratorKeys(latent_size=3)
    stream = BatchStream(data, CPU, seed=SEED, batch_size=BATCH, generator=keys, horizontal_flips=True, part=part)
    return Recipe(stream, SEED, BATCH, part, CRITIC_STEPS, WHICH)


def host(iteration: int, part: slice = slice(None)) -> HostInputs:
    return HostInputs(recipe(part), iteration, {"rate": torch.tensor(0.5 * iteration)})


@pytest.mark.parametrize("rows", [7, 100])
@pytest.mark.parametrize("part", [slice(None), slice(24, 48)], ids=["whole", "second half"])
def test_rows_are_those_of_one_position_after_the_other(part: slice, rows: int) -> None:
    for draw in range(6):
        positions = range(draw * BATCH, (draw + 1) * BATCH)[part]
        order = [
            random_stream(SEED, ORDER, position // rows).permutation(rows)[position % rows] for position in positions
        ]
        found = recipe(part, rows).stream.rows(draw)
        assert (found.dtype, found.tolist()) == (torch.int64, order)


def test_an_iteration_has_the_draws_of_its_number() -> None:
    inputs, stream = host(4), recipe().stream
    assert inputs.take(Request("rows", 1)).equal(stream.rows(9))
    assert inputs.take(Request("stored", 1)).equal(torch.from_numpy(DIGITS.train[stream.rows(9).numpy()]))
    mirrored = random_stream(SEED, FLIPS, 9).random(BATCH) < 1 / 2
    assert inputs.take(Request("mirrored", 1)).equal(torch.from_numpy(mirrored))
    drawn = random_stream(SEED, LATENTS, 14).standard_normal((BATCH, 3), dtype=np.float32)
    assert inputs.take(Request("latents", 2)).equal(torch.from_numpy(drawn))
    assert inputs.take(Request("codes", 2)).equal(codes(SEED, CODES, 14, BATCH, WHICH))
    numbers = RandomNumbers(random_stream(SEED, AUGMENTATION, 12), BATCH, slice(None), CPU)
    plain, asked = (kind(inputs, CPU).numbers(0, AUGMENTATION) for kind in (DirectInputs, RecordedInputs))
    for _ in range(2):
        expected = numbers.uniform(3), numbers.normal()
        for source in (plain, asked):
            found = source.uniform(3), source.normal()
            assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("part", [slice(None), slice(24, 48)], ids=["whole", "second half"])
def test_inputs_that_are_fed_ahead_are_those_that_are_drawn_at_once(part: slice) -> None:
    first = RecordedInputs(host(0, part), CPU)
    for request in REQUESTS:
        first.take(request)
    slots = Slots(first.asked, CPU)
    feeder = Feeder(lambda iteration: host(iteration, part), lambda _: slots)
    for iteration in (1, 2, 3, 7, 8):  # to 7 as after a checkpoint is restored
        feeder.send(iteration, slots)
        slots.rewind()
        direct = host(iteration, part)
        for request in REQUESTS:
            fed, drawn = slots.take(request), direct.take(request)
            assert (fed.dtype, fed.shape) == (drawn.dtype, drawn.shape)
            assert fed.equal(drawn), request
    feeder.forget()


def test_what_a_step_takes_lies_where_it_lay_before() -> None:
    first = RecordedInputs(host(0), CPU)
    first.take(Request("latents"))
    slots = Slots(first.asked, CPU)
    places = set()
    for iteration in range(3):
        slots.send(slots.fill(host(iteration)))
        slots.rewind()
        places.add(slots.take(Request("latents")).data_ptr())
    assert len(places) == 1


def test_a_step_that_asks_for_something_else_is_a_fault() -> None:
    first = RecordedInputs(host(0), CPU)
    first.take(Request("latents"))
    slots = Slots(first.asked, CPU)
    with pytest.raises(RuntimeError, match=r"asked for Request\(what='rows'.* had asked for Request\(what='latents'"):
        slots.take(Request("rows"))
