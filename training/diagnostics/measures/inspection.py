"""Inspects the networks of a run's newest checkpoint: samples against the data, the critic against a fresh classifier.

    two-sample test    a classifier trained now: does it tell generated samples from real ones?
    memorisation       are samples near the data, or so near that they are copies?
    the critic         does it tell them apart, and has it memorised its training set?
    the generator      has it moved since its first step, and are all of its layers active?

Computed for a diagnosis, not during training, on the CPU and from its own random streams, so the same checkpoint gives
the same figures. The number of samples drawn depends on their size, so that it takes seconds.

Shapes: N samples of ... numbers each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data import Data
from training.data.image_data import ImageData, Labels
from training.data.pixels import to_bytes, to_floats
from training.data.vector_data import VectorData
from training.diagnostics.measures import memorisation, two_sample
from training.diagnostics.measures.memorisation import Memorisation
from training.diagnostics.measures.spread import unit
from training.diagnostics.measures.two_sample import TwoSample, auc
from training.objectives.base import Batch
from training.state import players
from training.state.batches import PROBE, codes, latents, random_stream
from training.state.checkpoint import Run
from training.state.players import Side

NUMBERS: Final = 1 << 24  # of all generated samples together: 1,365 of 64x64 in colour, seconds on one core
TRAINED_ON: Final = 1_000  # samples of each kind that the classifier learns from
TESTED: Final = 500  # and is tested on: a standard error of 2 % at most
FEWEST_TESTED: Final = 128  # with fewer held-out samples, training samples that the classifier has not seen join them
COMPARED: Final = 256  # compared with the whole training set, and judged by the critic
PART: Final = 256  # generated at once
TO_TRAIN, TO_TEST = range(3, 5)  # draws of the probe's stream, after the probe's own
INPUTS: Final = 3  # draws that one set of samples takes: latents, labels, codes


@dataclass(frozen=True)
class CriticView:
    """The critic of the run.

    Attributes:
        told_apart: probability that a held-out sample has the higher logit than one of the generator as it is trained;
            1/2 is a coin.
        known: probability that a training sample has the higher logit than a held-out one; 1/2 for a critic that has
            memorised nothing.
        spread: standard deviation of the logits of held-out and generated samples together.
        served: as told_apart, of the averaged generator's samples, and in a game of pairs with the latents that the
            averaged encoder finds for both kinds: what a package's discriminator tells of its generator. None in
            records of before 0.10.0.
    """

    told_apart: float
    known: float
    spread: float
    served: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What was found at a checkpoint.

    Attributes:
        two_sample: a fresh classifier's result on the averaged generator's samples.
        memorisation: how near they are to the training set.
        critic: the run's own critic; None with too few held-out samples.
        moved: mean distance of a latent's sample from that of the untrained generator, in units of the mean distance
            of two real samples; None where real samples are all alike.
        silent_layers: layers of the trained generator of which no unit is above 0 for any latent.
    """

    two_sample: TwoSample
    memorisation: Memorisation
    critic: CriticView | None
    moved: float | None
    silent_layers: int


@torch.no_grad()
def inspect(trained: Run, data: Data) -> Inspection:
    """Inspect the networks of a checkpoint.

    Args:
        data: that they were trained on, of samples that have distances, some of them held out.
    """
    most = max(PART, min(TRAINED_ON + TESTED, NUMBERS // max(1, int(np.prod(data.sample_shape)))))
    tested_on, trained_on = _real(trained, data, most)
    to_train, _ = _draw(trained, trained.ema, data, TO_TRAIN, min(TRAINED_ON, most))
    to_test, asked = _draw(trained, trained.ema, data, TO_TEST, max(len(tested_on), COMPARED))
    shown, shown_train = _as_stored(to_test, data), _as_stored(to_train, data)
    with torch.enable_grad():
        found = two_sample.measure((trained_on, tested_on), (shown_train, shown[: len(tested_on)]), trained.config.seed)
    spread_out = max(1, len(data.held_out) // COMPARED)
    held_out = data.held_out[::spread_out][:COMPARED]
    with _silent_layers(trained.players.generator) as silent:
        current, _ = _draw(trained, trained.players.generator_side, data, TO_TEST, COMPARED)
    untrained, _ = _draw(trained, _untrained(trained), data, TO_TEST, COMPARED)
    apart = unit(_floats(held_out)) if len(held_out) > 1 else 0.0
    return Inspection(
        two_sample=found,
        memorisation=memorisation.measure(to_test[:COMPARED], held_out, data.train),
        critic=_critic(trained, data, current, to_test, asked),
        moved=float((current - untrained).flatten(1).norm(dim=1).mean()) / apart if apart > 0 else None,
        silent_layers=len(silent),
    )


def _real(trained: Run, data: Data, most: int) -> tuple[Tensor, Tensor]:
    """Real samples to test a classifier on, held-out ones first, and others to train it on."""
    chance = random_stream(trained.config.seed, PROBE, TO_TRAIN)
    held_out, train = chance.permutation(len(data.held_out)), chance.permutation(len(data.train))
    wanted = min(TESTED, most // 3)
    missing = max(0, min(FEWEST_TESTED, wanted) - len(held_out))
    borrowed = min(missing, len(train) // 2)
    asked = np.concatenate([data.held_out[held_out[:wanted]], data.train[train[:borrowed]]])
    learnt = data.train[train[borrowed : borrowed + min(TRAINED_ON, most)]]
    pair = _floats(asked), _floats(learnt)
    if not trained.config.trainer.horizontal_flips:
        return pair
    asked_mirrored, learnt_mirrored = (
        torch.where(torch.from_numpy(chance.random(len(real)) < 1 / 2)[:, None, None, None], real.flip(3), real)
        for real in pair
    )
    return asked_mirrored, learnt_mirrored


def _draw(trained: Run, side: Side, data: Data, draw: int, count: int) -> tuple[Tensor, Batch]:
    """Samples [N, ...] of a generator and its inputs; labels are as frequent as in the data."""
    config, first = trained.config, INPUTS * draw
    keys = config.generator
    drawn = latents(config.seed, PROBE, first, count, keys.latent_size, keys.prior)
    inputs, labels, asked_codes = [drawn], None, None
    if trained.task.classes and data.train_labels is not None:
        rows = random_stream(config.seed, PROBE, first + 1).integers(len(data.train_labels), size=count)
        labels = torch.from_numpy(data.train_labels[rows])
        inputs.append(labels)
    if config.codes is not None:
        asked_codes = codes(config.seed, PROBE, first + 2, count, config.codes)
        inputs.append(asked_codes)
    parts = zip(*(torch.split(values, PART) for values in inputs), strict=True)
    samples = torch.cat([side(players.GENERATOR, *part) for part in parts])
    return samples, Batch(samples, drawn, labels, asked_codes)


def _untrained(trained: Run) -> Side:
    """The generator's side before the first step: networks are built on the CPU from the run's seed.

    Statistics of batch normalisation are the trained ones, since they change without learning.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trained.config.seed)
        side = players.build(trained.config, trained.task).generator_side.eval()
    for buffer, moved in zip(side.buffers(), trained.players.generator_side.buffers(), strict=True):
        buffer.copy_(moved)
    return side


@contextmanager
def _silent_layers(generator: nn.Module) -> Iterator[list[nn.Module]]:
    """Layers whose output is never above 0 while the generator is called once."""
    silent: list[nn.Module] = []

    def look(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if not bool((output > 0).any()):
            silent.append(layer)

    handles = [layer.register_forward_hook(look) for layer in generator.modules() if isinstance(layer, nn.ReLU)]
    try:
        yield silent
    finally:
        for handle in handles:
            handle.remove()


def _critic(trained: Run, data: Data, current: Tensor, averaged: Tensor, asked: Batch) -> CriticView | None:
    """Judge samples of the generator as it is trained and as it is averaged, for the same inputs."""
    pack = trained.task.pack
    count = min(COMPARED, len(data.held_out), len(data.train)) // pack * pack
    if count < 2 * pack:
        return None
    chance = random_stream(trained.config.seed, PROBE, TO_TEST)
    held_out_labels = data.held_out_labels if isinstance(data, ImageData | VectorData) else None
    held_out, train = (chance.permutation(len(rows))[:count] for rows in (data.held_out, data.train))
    new = _judge_real(trained, data.held_out, held_out_labels, held_out)
    known = _judge_real(trained, data.train, data.train_labels, train)
    labels = None if asked.labels is None else asked.labels[:count]
    fake = _judge(trained, current[:count], asked.latents[:count], labels)
    new_served = _judge_encoded(trained, _floats(data.held_out[held_out]), None) if trained.task.joint_size else new
    return CriticView(
        told_apart=auc(new, fake)[0],
        known=auc(known, new)[0],
        spread=float(torch.cat([new, fake]).double().std()),
        served=auc(new_served, _judge_encoded(trained, averaged[:count], labels))[0],
    )


def _judge_real(trained: Run, samples: NDArray[np.generic], labels: Labels | None, rows: NDArray[np.int64]) -> Tensor:
    real = _floats(samples[rows])
    encoded = trained.players.generator_side(players.ENCODER, real) if trained.task.joint_size else None
    return _judge(trained, real, encoded, None if labels is None else torch.from_numpy(labels[rows]))


def _judge_encoded(trained: Run, samples: Tensor, labels: Tensor | None) -> Tensor:
    """Logits of samples, in a game of pairs with the latents that the averaged encoder finds."""
    return _judge(trained, samples, trained.ema(players.ENCODER, samples) if trained.task.joint_size else None, labels)


def _judge(trained: Run, samples: Tensor, joint: Tensor | None, labels: Tensor | None) -> Tensor:
    """Logits [N / m] of the trained critic."""
    inputs = [samples]
    if trained.task.joint_size:
        inputs.append(cast("Tensor", joint))
    elif trained.task.classes:
        inputs.append(cast("Tensor", labels))
    logits: Tensor = trained.discriminator(*inputs)
    return logits.flatten()


def _floats(samples: NDArray[np.generic]) -> Tensor:
    values = torch.from_numpy(samples.copy())
    return to_floats(values) if values.dtype == torch.uint8 else values


def _as_stored(samples: Tensor, data: Data) -> Tensor:
    """Generated samples as the data stores them: images quantised to bytes, as real ones are."""
    return to_floats(to_bytes(samples)) if data.train.dtype == np.uint8 else samples
