"""Compares live samples with what the manifest recorded at export: the gauges of drift.

    engine ──ScoredSamples──▶ the last `WINDOW` of a package and an origin ──▶ realness, stability index, labels, modes

The population stability index is Σ (p − q)·log(p/q) over bins of the logit, p of the window and q at export. The bins
are equal shares of the generated samples at export, as many as those support. Without drift, W samples in B bins
against M at export give about (1/W + 1/M)·χ² with B − 1 degrees of freedom: 0.02 on average for 512, 10,000 and ten
bins. Below 0.1 is customarily called no shift, above 0.25 a large one.

Shapes: N samples, K classes, B bins.

References:
    Yurdakul and Naranjo, Statistical properties of the population stability index (2020): its distribution.
    Hill, Diversity and evenness (1973): exp of the entropy as the effective number of kinds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine.core.live_scoring import Origin, ScoredSamples
from service.engine.model_spec import PackageKey
from service.metrics import DriftMetrics
from service.packages.calibration import Numbers
from service.packages.registry import PackageStatus, ServedPackage
from service.packages.schema import Discriminator

WINDOW: Final = 512
# Fewer would vary too much: the index of 256 samples is above 0.25 once in 2·10⁹ windows, of 64 once in 14.
LEAST: Final = 256
MOST_BINS: Final = 10
# Export's own sampling error then adds 0.02 to the index at most.
SAMPLES_A_BIN: Final = 50
# Of a sample in each bin, so that an empty one has a logarithm.
PRIOR_COUNT: Final = 0.5
ORIGINS: Final[tuple[Origin, ...]] = ("prior", "chosen")


class Reference:
    """The logits of generated samples at export, as shares of bins.

    Args:
        discriminator: whose manifest's entry states them, calibrated.

    Attributes:
        realness: their mean P(real).
    """

    def __init__(self, discriminator: Discriminator, package: ServedPackage) -> None:
        stated, calibration = discriminator.reference_quantiles, discriminator.calibration
        if stated is None or calibration is None:
            raise ValueError(f"the discriminator of {package.key} is not calibrated")
        quantiles = np.array(stated.generated)
        samples = (calibration.fit_samples + calibration.evaluation_samples) // 2  # the other half are real
        bins = max(2, min(MOST_BINS, samples // SAMPLES_A_BIN))
        self._edges = np.unique(np.quantile(quantiles, np.arange(1, bins) / bins))
        # The share at or below an edge; more than its own where several quantiles share a value.
        below = np.searchsorted(quantiles, self._edges, side="right") - 1
        nearest = np.minimum(below, len(quantiles) - 2)
        gaps = quantiles[nearest + 1] - quantiles[nearest]
        within = np.divide(self._edges - quantiles[nearest], gaps, out=np.zeros_like(gaps), where=gaps > 0)
        shares = np.where(below > nearest, 1.0, (nearest + within) / (len(quantiles) - 1))
        self._shares = np.diff(shares, prepend=0.0, append=1.0)
        probabilities = np.zeros(0) if package.calibration is None else package.calibration.probability(quantiles)
        self.realness = float(np.mean((probabilities[1:] + probabilities[:-1]) / 2))

    def stability_index(self, logits: Numbers) -> float:
        """The population stability index of logits [N]."""
        counts = np.bincount(np.searchsorted(self._edges, logits, side="left"), minlength=len(self._shares))
        smoothed = PRIOR_COUNT * len(counts)
        shares = (counts + PRIOR_COUNT) / (len(logits) + smoothed)
        # The same half a sample, so that equal shares give 0 and an impossible bin has a logarithm.
        stated = (self._shares * len(logits) + PRIOR_COUNT) / (len(logits) + smoothed)
        return float(np.sum((shares - stated) * np.log(shares / stated)))


class Window:
    """The last samples of one package and one origin."""

    def __init__(self) -> None:
        self._logits: Numbers = np.empty(0)
        self._asked: NDArray[np.int64] = np.empty(0, np.int64)
        self._recognised: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Samples in it."""
        return len(self._logits)

    @property
    def logits(self) -> Numbers:
        """[N]."""
        return self._logits

    @property
    def classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Asked for, and recognised: [N] each, or none."""
        return self._asked, self._recognised

    def add(self, logits: Numbers, asked: NDArray[np.int64], recognised: NDArray[np.int64]) -> None:
        """Add samples; of the labels none where they are not recognised."""
        self._logits = np.concatenate((self._logits, logits))[-WINDOW:]
        self._asked = np.concatenate((self._asked, asked))[-WINDOW:]
        self._recognised = np.concatenate((self._recognised, recognised))[-WINDOW:]


@dataclass(frozen=True, slots=True)
class _Watched:
    """A package that is ready, and its windows by origin."""

    package: ServedPackage
    reference: Reference
    windows: dict[Origin, Window]


class DriftMonitor:
    """Keeps the gauges of every package that is ready; a listener of the registry, and the observer of the engine.

    Args:
        metrics: the gauges.
    """

    def __init__(self, metrics: DriftMetrics) -> None:
        self._metrics = metrics
        self._watched: dict[PackageKey, _Watched] = {}

    def open(self) -> None:
        """As `Listener.open`."""

    def note(self, status: PackageStatus) -> None:
        """As `Listener.note`: begin with a package that is ready, end with one that is not."""
        self.forget(status.key)
        package = status.package
        if package is None or package.calibration is None or package.manifest.discriminator is None:
            return
        discriminator = package.manifest.discriminator
        watched = _Watched(package, Reference(discriminator, package), {origin: Window() for origin in ORIGINS})
        self._watched[status.key] = watched
        labels = _labels(status.key)
        self._metrics.realness_at_export.labels(*labels).set(watched.reference.realness)
        if discriminator.unknown_label is not None:
            self._metrics.label_accuracy_at_export.labels(*labels).set(discriminator.unknown_label.label_accuracy)
        for origin in ORIGINS:  # a rate needs its zero
            self._metrics.samples.labels(*labels, origin)

    def forget(self, key: PackageKey) -> None:
        """As `Listener.forget`."""
        if self._watched.pop(key, None) is None:
            return
        metrics, labels = self._metrics, _labels(key)
        for at_export in (metrics.realness_at_export, metrics.label_accuracy_at_export):
            at_export.remove(*labels)
        for series in (
            metrics.samples, metrics.realness, metrics.stability_index, metrics.label_agreement, metrics.modes,
            metrics.modes_asked,
        ):  # fmt: skip
            for origin in ORIGINS:
                series.remove(*labels, origin)

    def watches(self, package: PackageKey) -> bool:
        """As `Observer.watches`: what is ready and was calibrated at export."""
        return package in self._watched

    def reads_classes(self, package: PackageKey) -> bool:
        """As `Observer.reads_classes`: where the manifest says how logits under every class are read."""
        watched = self._watched.get(package)
        return watched is not None and watched.package.unknown_label is not None

    def observe(self, scored: ScoredSamples) -> None:
        """As `Observer.observe`."""
        watched = self._watched.get(scored.package)
        if watched is None:
            return
        asked = recognised = np.empty(0, np.int64)
        reader = watched.package.unknown_label
        if reader is not None and scored.class_logits is not None and scored.labels is not None:
            asked, recognised = scored.labels, reader.read(scored.class_logits).labels
        window = watched.windows[scored.origin]
        window.add(scored.logits.astype(np.float64), asked, recognised)
        labels = (*_labels(scored.package), scored.origin)
        self._metrics.samples.labels(*labels).inc(len(scored.logits))
        if len(window) >= LEAST:
            self._show(watched, window, labels)

    def _show(self, watched: _Watched, window: Window, labels: Iterable[str]) -> None:
        metrics, calibration = self._metrics, watched.package.calibration
        if calibration is not None:
            metrics.realness.labels(*labels).set(float(calibration.probability(window.logits).mean()))
        metrics.stability_index.labels(*labels).set(watched.reference.stability_index(window.logits))
        asked, recognised = window.classes
        if len(asked):
            metrics.label_agreement.labels(*labels).set(float((asked == recognised).mean()))
            metrics.modes.labels(*labels).set(effective_number(recognised))
            metrics.modes_asked.labels(*labels).set(effective_number(asked))


def effective_number(kinds: NDArray[np.int64]) -> float:
    """The exponential of the entropy of numbers [N]: K where K of them are equally frequent, 1 where all are one."""
    counts = np.bincount(kinds)
    shares = counts[counts > 0] / len(kinds)
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _labels(key: PackageKey) -> tuple[str, str]:
    return key.name, str(key.version)
