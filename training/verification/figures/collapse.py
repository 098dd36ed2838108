"""Two runs on the ring that differ in their objective alone: one collapses, and one covers every mode.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), section 6: "the Helvetica scenario".
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.1: the ring.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from training import config as configuration
from training import data, keys
from training.config import Config, DiagnosticsConfig
from training.data.mixtures import ring
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.monitor import Monitor
from training.diagnostics.report import examine
from training.errors import Interrupted
from training.evaluation.mixtures import SAMPLES as SAMPLES_COVERED
from training.evaluation.mixtures import Coverage, cover
from training.files import write_atomically
from training.loop.fit import Observers, fit
from training.loop.run_logger import RunLogger
from training.loop.trainer import Trainer
from training.objectives import NonSaturating, ObjectiveConfig, Relativistic
from training.state import checkpoint, players
from training.state.batches import GRID, latents
from training.state.history import Event, Row
from training.verification.figures.base import BLACK, BLUE, ORANGE, Drawing

CONFIG: Final = "r3gan-ring"
SAMPLES: Final = 128_000
FRAMES: Final = 5
DOTS: Final = 500
MOMENTUM: Final = 0.9  # Adam's first moment: the usual default of other fields, and enough to collapse the free game
GAMMA: Final = 0.1
GAMES: Final[dict[str, tuple[str, ObjectiveConfig, str]]] = {
    "free": ("non-saturating, no penalty", NonSaturating(), ORANGE),
    "penalised": (
        "relativistic + R1 + R2",
        Relativistic(gamma_r1=GAMMA, gamma_r2=GAMMA, gamma_final_fraction=0.15),
        BLUE,
    ),
}
INCHES: Final = (10.5, 5.1)
EDGE: Final = 1.7  # of the square that is drawn


@dataclass(frozen=True)
class Played:
    """What a run has shown.

    Attributes:
        frames: samples seen, and [500, 2] of the generator from the same latents, in order.
        findings: names of what `diagnose` found, causes first.
        coverage: of the averaged generator, which a package would hold, by 2,500 samples.
    """

    frames: list[tuple[int, NDArray[np.float32]]]
    findings: list[str]
    coverage: Coverage


@dataclass(frozen=True)
class _Watching(Observers):
    """Observers that also keep samples at regular times."""

    frames: list[tuple[int, NDArray[np.float32]]] = field(default_factory=list)

    def observe(
        self, trainer: Trainer, readings: dict[str, Tensor], means: Row, *, measuring: bool, evaluating: bool
    ) -> Event | None:
        """Observe one step, and keep a frame where one is due."""
        if trainer.passed(trainer.config.trainer.grid_every_samples):
            self.frames.append((trainer.samples_seen, _drawn(trainer, DOTS)))
        return super().observe(trainer, readings, means, measuring=measuring, evaluating=evaluating)


def frames() -> Drawing:
    """Train both runs, diagnose them, and draw their samples over time.

    Returns:
        Facts: captured modes of eight and the share of high quality, of both; and of each finding of either, 1.
    """
    figure = Figure(figsize=INCHES, layout="constrained")
    rows = figure.subplots(len(GAMES), FRAMES, sharex=True, sharey=True)
    facts: dict[str, float] = {}
    for position, (name, (title, objective, colour)) in enumerate(GAMES.items()):
        row = rows[position]
        played = play(configured(objective))
        for axis, (seen, samples) in zip(row, played.frames, strict=True):
            axis.plot(*ring().means.T, "o", color=BLACK, markersize=9, fillstyle="none", markeredgewidth=0.7)
            axis.plot(*samples.T, ".", color=colour, markersize=2.5, alpha=0.6)
            axis.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            axis.set_title(f"{seen:,} samples" if position == 0 else "", fontsize=8)
        row[0].set_ylabel(title, fontsize=8)
        found = played.coverage
        row[FRAMES // 2].set_xlabel(
            f"{found.captured} of 8 modes are drawn; diagnose finds: {', '.join(played.findings)}", fontsize=9
        )
        facts |= {f"{name}_modes": found.captured, f"{name}_high_quality": found.high_quality_share}
        facts |= {f"{name}: {finding}": 1.0 for finding in played.findings}
    figure.suptitle("The same networks, rates and steps; the circles are the data's eight modes", fontsize=10)
    return Drawing(figure, facts)


def configured(objective: ObjectiveConfig) -> Config:
    """The shipped run on the ring, shorter, with momentum and another objective."""
    shipped = configuration.load(keys.find(CONFIG))
    every = SAMPLES // FRAMES
    pace = replace(
        shipped.trainer,
        total_samples=SAMPLES,
        beta1=MOMENTUM,
        learning_rate_final_fraction=1.0,
        ema_half_life_samples=10_000,
        grid_every_samples=every,
        checkpoint_every_samples=SAMPLES,
    )
    watched = DiagnosticsConfig(every_samples=16_000)
    return replace(shipped, objective=objective, trainer=pace, diagnostics=watched)


def play(config: Config) -> Played:
    """Train a run in a temporary folder, as `train` does, and diagnose it, as `diagnose` does."""
    source = data.load(config.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_atomically(folder / checkpoint.CONFIG_NAME, configuration.dumps(config).encode())
        trainer = Trainer(config, source)
        monitor = Monitor(config, source, trainer.task, trainer.device)
        with RunLogger(
            folder,
            total_samples=config.trainer.total_samples,
            samples_seen=0,
            batch_size=config.trainer.batch_size,
        ) as recorder:
            watching = _Watching(recorder, monitor)
            try:
                fit(trainer, folder, watching)
            except Interrupted as stop:
                stop.args = ("stopped; the folder of this run is gone: run the command again",)
                raise
        record, _ = examine(folder)
    return Played(
        frames=watching.frames,
        findings=[finding.name for finding in diagnose(record)],
        coverage=cover(_drawn(trainer, SAMPLES_COVERED, averaged=True), ring()),
    )


def _drawn(trainer: Trainer, count: int, *, averaged: bool = False) -> NDArray[np.float32]:
    """[count, 2] samples of the generator, or of its moving average, from latents that are always the same."""
    table = trainer.config.generator
    network = trainer.ema[players.GENERATOR] if averaged else trainer.players.generator
    with torch.no_grad():
        fixed = latents(trainer.config.seed, GRID, 0, count, table.latent_size, table.prior)
        samples: NDArray[np.float32] = network(fixed.to(trainer.device)).cpu().numpy()
    return samples
