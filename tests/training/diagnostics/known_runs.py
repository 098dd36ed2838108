"""Trainings that fail, or do not, for a reason that is known because they were set up so.

    python -m tests.training.diagnostics.known_runs [NAME ...]    trains them (all: twenty minutes on one core) and
                                                                  keeps their records in known_runs.json beside it

Each is a real training of seconds, on the bundled digits, on mixtures, or on a folder of images made here. Nothing in
the file is written by hand. Thresholds were chosen with seed 0 in sight; the other seeds, and the runs that are marked
as held out, were trained afterwards.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from training import config as configuration
from training.data import DigitsConfig, digits
from training.data.image_data import FEWEST_HELD_OUT
from training.diagnostics.findings import RunRecord
from training.diagnostics.measures.inspection import CriticView, Inspection
from training.diagnostics.measures.memorisation import Memorisation
from training.diagnostics.measures.two_sample import TwoSample
from training.diagnostics.report import examine
from training.errors import TrainingError
from training.loop import run
from training.state.history import Event
from training.tables import Value, to_toml

KEPT: Final = Path(__file__).with_name("known_runs.json")
DIGITS_KEPT: Final = 4  # of each figure
Tables = dict[str, dict[str, Value]]

IMAGES: Final[Tables] = {
    "data": {"kind": "digits"},
    "generator": {"latent_size": 16, "widths": [48, 32, 24], "norm": "none", "activation": "leaky_relu"},
    "discriminator": {"widths": [32, 64]},
    "objective": {"kind": "relativistic", "gamma_r1": 0.5, "gamma_r2": 0.5},
    "trainer": {
        "total_samples": 64_000,
        "batch_size": 64,
        "learning_rate_generator": 1e-3,
        "learning_rate_discriminator": 1e-3,
        "learning_rate_final_fraction": 0.1,
        "ema_half_life_samples": 4_000,
    },
    "diagnostics": {"probe_samples": 256},
}
POINTS: Final[Tables] = {
    "data": {"kind": "ring", "train_samples": 20_000, "held_out_samples": 2_000},
    "generator": {"kind": "mlp", "latent_size": 2, "widths": [64, 64], "activation": "tanh"},
    "discriminator": {"kind": "mlp", "widths": [64, 64], "fourier_octaves": 5},
    "objective": {"kind": "relativistic", "gamma_r1": 0.1, "gamma_r2": 0.1, "gamma_final_fraction": 0.15},
    "trainer": {
        "total_samples": 384_000,
        "batch_size": 128,
        "learning_rate_generator": 3e-3,
        "learning_rate_discriminator": 3e-3,
        "learning_rate_final_fraction": 0.0,
        "ema_half_life_samples": 20_000,
    },
    "diagnostics": {"probe_samples": 512},
}
MEASUREMENTS: Final = 12
CHECKPOINTS: Final = 4


@dataclass(frozen=True)
class KnownRun:
    """A training and why it went as it went.

    Attributes:
        cause: one sentence.
        named: what a diagnosis must say first, one of these.
        tables: the configuration's.
        seeds: how many runs of it.
        held_out: whether it was trained only after the thresholds had been chosen.
    """

    cause: str
    named: tuple[str, ...]
    tables: Callable[[Path], Tables]
    seeds: int = 2
    held_out: bool = False


def changed(base: Tables, changes: Mapping[str, Mapping[str, Value]]) -> Callable[[Path], Tables]:
    """A configuration with some keys changed; a table of another kind is replaced."""

    def tables(_folder: Path) -> Tables:
        result = {name: dict(table) for name, table in base.items()}
        for name, change in changes.items():
            same = change.get("kind", result.get(name, {}).get("kind")) == result.get(name, {}).get("kind")
            result[name] = {**(result.get(name, {}) if same else {}), **change}
        return result

    return tables


def on_images(
    make: Callable[[Path], None], base: Tables, changes: Mapping[str, Mapping[str, Value]]
) -> Callable[[Path], Tables]:
    """The same on a folder of images that is made first."""

    def tables(folder: Path) -> Tables:
        make(folder)
        return changed(base, {**changes, "data": {"kind": "folder", "path": str(folder), **changes.get("data", {})}})(
            folder
        )

    return tables


def few_digits(count: int) -> Callable[[Path], None]:
    """So many of the bundled digits to train on as files, and as many held out as a run must have."""

    def make(folder: Path) -> None:
        for side, start, end in (("train", 0, count), ("test", count, count + FEWEST_HELD_OUT)):
            (folder / side).mkdir()
            for number, image in enumerate(digits.load(DigitsConfig()).train[start:end]):
                Image.fromarray(image[0]).save(folder / side / f"{number:03d}.png")

    return make


def blobs(folder: Path) -> None:
    """Six hundred coloured blobs of 16x16 pixels as files."""
    chance, side = np.random.default_rng(0), 16
    down, across = np.mgrid[:side, :side]
    for number in range(600):
        (left, top), radius = chance.uniform(side / 4, 3 * side / 4, 2), chance.uniform(2, 4)
        glow = np.exp(-((across - left) ** 2 + (down - top) ** 2) / (2 * radius**2))
        pixels = 255 * glow[..., np.newaxis] * chance.uniform(0.3, 1, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03d}.png")


def pace(**keys: Value) -> Tables:
    """A change of the trainer's keys."""
    return {"trainer": keys}


NON_SATURATING: Final[Tables] = {"objective": {"kind": "non_saturating"}}
GRID: Final[Tables] = {"data": {"kind": "grid", "train_samples": 20_000, "held_out_samples": 2_000}}

KNOWN: Final[dict[str, KnownRun]] = {
    "healthy-digits": KnownRun("the usual game", ("healthy",), changed(IMAGES, {}), 3),
    "healthy-digits-hinge": KnownRun(
        "another loss", ("healthy",), changed(IMAGES, {"objective": {"kind": "hinge", "gamma_r1": 1.0}})
    ),
    "healthy-digits-wgan-gp": KnownRun(
        "another loss",
        ("healthy",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "wasserstein_gp", "gamma_slope": 10.0},
                "generator": {"norm": "batch"},
                **pace(critic_steps=3, beta2=0.9),
            },
        ),
    ),
    "healthy-digits-minimax": KnownRun(
        "the original game with a bounded critic",
        ("healthy",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "minimax", "gamma_r1": 1.0},
                "discriminator": {"spectral_norm": True},
                **pace(total_samples=128_000),
            },
        ),
        held_out=True,
    ),
    "healthy-ring": KnownRun("the usual game", ("healthy",), changed(POINTS, {})),
    "young-digits": KnownRun("100 steps", ("young",), changed(IMAGES, pace(total_samples=6_400))),
    "young-blobs": KnownRun("100 steps", ("young",), on_images(blobs, IMAGES, pace(total_samples=6_400))),
    "young-ring": KnownRun("300 steps", ("young",), changed(POINTS, pace(total_samples=38_400))),
    "young-grid": KnownRun(
        "200 steps", ("young",), changed(POINTS, {**GRID, **pace(total_samples=25_600)}), held_out=True
    ),
    "young-digits-hinge": KnownRun(
        "80 steps",
        ("young",),
        changed(IMAGES, {"objective": {"kind": "hinge", "gamma_r1": 1.0}, **pace(total_samples=5_120)}),
        held_out=True,
    ),
    "collapsed-digits": KnownRun(
        "a generator ten times as fast as its critic",
        ("collapse", "oscillation"),
        changed(
            IMAGES,
            {
                **NON_SATURATING,
                **pace(
                    learning_rate_generator=1e-2,
                    learning_rate_discriminator=1e-3,
                    learning_rate_final_fraction=1.0,
                    beta1=0.5,
                ),
            },
        ),
    ),
    "saturated-digits": KnownRun(
        "minimax with a critic a thousand times as fast",
        ("saturation",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "minimax"},
                **pace(
                    total_samples=12_800,
                    learning_rate_discriminator=1e-2,
                    learning_rate_generator=1e-5,
                    critic_steps=2,
                ),
            },
        ),
    ),
    "saturated-line": KnownRun(
        "minimax with a critic a hundred times as fast",
        ("saturation",),
        changed(
            POINTS,
            {
                "data": {
                    "kind": "gaussian_mixture",
                    "weights": [0.5, 0.5],
                    "means": [10.0, 14.0],
                    "deviations": [0.1, 0.1],
                    "train_samples": 20_000,
                    "held_out_samples": 2_000,
                },
                "objective": {"kind": "minimax"},
                **pace(
                    total_samples=128_000,
                    learning_rate_discriminator=1e-2,
                    learning_rate_generator=1e-5,
                    learning_rate_final_fraction=1.0,
                    critic_steps=3,
                ),
            },
        ),
    ),
    "oscillating-digits": KnownRun(
        "momentum and constant rates",
        ("oscillation",),
        changed(IMAGES, {**NON_SATURATING, **pace(beta1=0.9, learning_rate_final_fraction=1.0)}),
    ),
    "overfitting-few": KnownRun(
        "50 training images and a wide critic",
        ("overfitting",),
        on_images(few_digits(50), IMAGES, {**NON_SATURATING, "discriminator": {"widths": [64, 128]}}),
    ),
    "overfitting-few-hinge": KnownRun(
        "84 training images",
        ("overfitting",),
        on_images(few_digits(84), IMAGES, {"objective": {"kind": "hinge"}}),
    ),
    "constrained-digits": KnownRun(
        "penalties four thousand times too strong",
        ("constrained",),
        changed(IMAGES, {"objective": {"gamma_r1": 2_000.0, "gamma_r2": 2_000.0}}),
    ),
    "constrained-digits-hinge": KnownRun(
        "a penalty five thousand times too strong",
        ("constrained",),
        changed(IMAGES, {"objective": {"kind": "hinge", "gamma_r1": 5_000.0}}),
    ),
    "constrained-ring": KnownRun(
        "penalties fifty thousand times too strong",
        ("constrained",),
        changed(POINTS, {"objective": {"gamma_r1": 5_000.0, "gamma_r2": 5_000.0, "gamma_final_fraction": 1.0}}),
    ),
    "constrained-digits-clip": KnownRun(
        "a clip a hundred times too tight",
        ("constrained",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "wasserstein", "clip": 1e-4},
                **pace(optimizer="rmsprop", learning_rate_generator=5e-4, learning_rate_discriminator=5e-4),
            },
        ),
    ),
    "weak-digits": KnownRun(
        "a critic that hardly learns",
        ("weak",),
        changed(IMAGES, {**NON_SATURATING, **pace(learning_rate_discriminator=1e-6)}),
    ),
    "weak-ring": KnownRun(
        "a critic of one unit", ("weak",), changed(POINTS, {"discriminator": {"widths": [1], "fourier_octaves": 0}})
    ),
    "diverged-ring-fgan": KnownRun(
        "an unbounded divergence at a hundred times the usual rates",
        ("diverged",),
        changed(
            POINTS,
            {
                "objective": {"kind": "fgan", "divergence": "pearson"},
                **pace(learning_rate_generator=0.3, learning_rate_discriminator=0.3, total_samples=192_000),
            },
        ),
    ),
    "diverged-ring-wgan": KnownRun(
        "a Wasserstein critic that nothing bounds",
        ("diverged",),
        changed(
            POINTS,
            {"objective": {"kind": "wasserstein_gp", "gamma_slope": 0.0}, **pace(learning_rate_final_fraction=1.0)},
        ),
    ),
    "diverged-digits-wgan": KnownRun(
        "a clip that bounds nothing, and a fast critic",
        ("diverged",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "wasserstein", "clip": 1e6},
                **pace(optimizer="rmsprop", learning_rate_discriminator=3e-2, learning_rate_final_fraction=1.0),
            },
        ),
    ),
    "diverged-digits-nan": KnownRun(
        "rates so high that numbers overflow",
        ("diverged",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "least_squares"},
                **pace(learning_rate_generator=1e4, learning_rate_discriminator=1e9, total_samples=12_800),
            },
        ),
    ),
    "stalled-digits-rate": KnownRun(
        "a generator's learning rate of 1e-9",
        ("stalled",),
        changed(IMAGES, pace(total_samples=32_000, learning_rate_generator=1e-9)),
    ),
    "stalled-digits-relu": KnownRun(
        "an output that has run into its limit",
        ("stalled",),
        changed(
            IMAGES,
            {
                "generator": {"activation": "relu"},
                **pace(learning_rate_generator=0.3, learning_rate_final_fraction=1.0),
            },
        ),
    ),
    "outplayed-digits": KnownRun(
        "three fast critic steps for a slow generator's one",
        ("outplayed",),
        changed(
            IMAGES,
            {
                **NON_SATURATING,
                **pace(
                    total_samples=35_200,
                    batch_size=32,
                    learning_rate_discriminator=5e-3,
                    learning_rate_generator=5e-5,
                    critic_steps=3,
                ),
            },
        ),
    ),
    "outplayed-digits-hinge": KnownRun(
        "three fast critic steps for a slow generator's one",
        ("outplayed",),
        changed(
            IMAGES,
            {
                "objective": {"kind": "hinge"},
                **pace(
                    total_samples=35_200,
                    batch_size=32,
                    learning_rate_discriminator=5e-3,
                    learning_rate_generator=5e-5,
                    critic_steps=3,
                ),
            },
        ),
    ),
    "oscillating-ring": KnownRun(
        "a critic that cannot see detail, and a fast generator",
        ("oscillation",),
        changed(
            POINTS,
            {
                **NON_SATURATING,
                "discriminator": {"fourier_octaves": 0},
                **pace(
                    learning_rate_generator=1e-2, learning_rate_discriminator=1e-3, learning_rate_final_fraction=1.0
                ),
            },
        ),
    ),
    "missing-grid-short": KnownRun(
        "a fifth of the usual length",
        ("missing",),
        changed(POINTS, {**GRID, "objective": {"gamma_r1": 1.0, "gamma_r2": 1.0}}),
    ),
    "missing-ring": KnownRun(
        "no penalty: half of the modes are won first, the rest never",
        ("missing",),
        changed(POINTS, {**NON_SATURATING, "discriminator": {"fourier_octaves": 3}}),
    ),
    "missing-grid": KnownRun(
        "a critic that confuses neighbouring modes",
        ("missing", "collapse"),
        changed(POINTS, {**GRID, **NON_SATURATING, "discriminator": {"fourier_octaves": 3}}),
    ),
    "rates-digits": KnownRun(
        "both rates thirty times the usual",
        ("oscillation", "collapse", "stalled"),
        changed(
            IMAGES,
            pace(learning_rate_generator=3e-2, learning_rate_discriminator=3e-2, learning_rate_final_fraction=1.0),
        ),
    ),
    "rates-ring": KnownRun(
        "both rates twenty times the usual",
        ("oscillation", "collapse"),
        changed(
            POINTS,
            pace(learning_rate_generator=5e-2, learning_rate_discriminator=5e-2, learning_rate_final_fraction=1.0),
        ),
    ),
    "memorised-few": KnownRun(
        "50 training images for three thousand steps",
        ("memorised",),
        on_images(
            few_digits(50),
            IMAGES,
            {"objective": {"gamma_r1": 0.05, "gamma_r2": 0.05}, **pace(total_samples=192_000)},
        ),
    ),
}


def train(name: str, seed: int, folder: Path) -> Path:
    """Train one.

    Args:
        name: of the known run.
        seed: of the training.
        folder: for the run and its data.

    Returns:
        The run's folder, however the training ended.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    tables = KNOWN[name].tables(images)
    total = int(str(tables["trainer"]["total_samples"]))
    tables["trainer"] = {
        "log_every_samples": total // MEASUREMENTS,
        "checkpoint_every_samples": total // CHECKPOINTS,
        "grid_every_samples": total,
        **tables["trainer"],
    }
    tables["diagnostics"] = {"every_samples": total // MEASUREMENTS, **tables["diagnostics"]}
    text = f'name = "{name}"\nseed = {seed}\n' + "".join(
        f"[{part}]\n{to_toml(table)}" for part, table in tables.items()
    )
    try:
        run.start(configuration.loads(text), folder / "run", lambda _line: None)
    except TrainingError as error:
        sys.stderr.write(f"{name}: {error}\n")
    return folder / "run"


def as_plain(record: RunRecord) -> dict[str, Any]:
    """A record as what JSON can hold, its figures rounded."""
    return {
        "config": configuration.dumps(record.config),
        "rows": [{key: _rounded(value) for key, value in row.items()} for row in record.rows],
        "events": [asdict(event) for event in record.events],
        "samples_seen": record.samples_seen,
        "inspection": None if record.inspection is None else _rounded(asdict(record.inspection)),
    }


def from_plain(plain: Mapping[str, Any]) -> RunRecord:
    """The record that `as_plain` wrote."""
    found = plain["inspection"]
    return RunRecord(
        config=configuration.loads(plain["config"]),
        rows=plain["rows"],
        events=[Event(**event) for event in plain["events"]],
        samples_seen=plain["samples_seen"],
        inspection=None
        if found is None
        else Inspection(
            two_sample=TwoSample(**found["two_sample"]),
            memorisation=Memorisation(**found["memorisation"]),
            critic=None if found["critic"] is None else CriticView(**found["critic"]),
            moved=found["moved"],
            silent_layers=found["silent_layers"],
        ),
    )


def kept() -> dict[str, dict[str, Any]]:
    """All records of the file, by name and seed."""
    found: dict[str, dict[str, Any]] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return float(f"{value:.{DIGITS_KEPT}g}") if isinstance(value, float) else value


def main(names: list[str]) -> None:
    """Train the runs named, or all, and keep their records."""
    for name in names or KNOWN:
        for seed in range(KNOWN[name].seeds):
            with tempfile.TemporaryDirectory() as folder:
                record, _ = examine(train(name, seed, Path(folder)))
            records = {**(kept() if KEPT.exists() else {}), f"{name}-{seed}": as_plain(record)}
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(records[key])}" for key in sorted(records))
            KEPT.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
