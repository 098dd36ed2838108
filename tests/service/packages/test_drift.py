"""What drifts raises the gauges within a known number of samples, and what does not leaves them low."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.core.live_scoring import Origin, ScoredSamples
from service.engine.model_spec import GraphReport, LoadReport, PackageKey
from service.metrics import Telemetry
from service.packages.drift import LEAST, WINDOW, DriftMonitor, Reference, effective_number
from service.packages.manifest import parse_manifest
from service.packages.registry import PackageStatus, ServedPackage
from service.packages.schema import Manifest
from tests.support.toy import write_toy_package
from tests.support.toy_shape import PLAIN

KEY = PackageKey("toy", 1)
ALARM = 0.25  # of the rule GanymedeDriftRealness
AT_EXPORT = 10_000
CLASSES = 4
GRAPH = GraphReport("CPUExecutionProvider", (1,), True, 0.0, 0.0, "", "onnxruntime 1.31.1", "fp32", None)
REPORT = LoadReport(GRAPH, None, None, 0.0, PLAIN)


def manifest_of(folder: Path, logits: NDArray[np.float64], **options: object) -> Manifest:
    """A toy's manifest whose generated samples had these logits at export."""
    path = write_toy_package(folder, **options) / "manifest.json"  # type: ignore[arg-type]
    manifest = json.loads(path.read_text())
    judge = manifest["discriminator"]
    judge["reference_quantiles"]["generated"] = np.quantile(logits, np.linspace(0, 1, 101)).tolist()
    judge["calibration"] |= {"fit_samples": len(logits), "evaluation_samples": len(logits)}
    return parse_manifest(json.dumps(manifest).encode())


def reference(folder: Path, logits: NDArray[np.float64]) -> Reference:
    package = served(manifest_of(folder, logits))
    assert package.manifest.discriminator is not None
    return Reference(package.manifest.discriminator, package)


def served(manifest: Manifest) -> ServedPackage:
    return ServedPackage.of(KEY, manifest, "0" * 64, REPORT)


class Watched:
    """A monitor of one toy, and its gauges."""

    def __init__(self, manifest: Manifest) -> None:
        self.registry = CollectorRegistry()
        self.monitor = DriftMonitor(Telemetry(self.registry).drift)
        self.monitor.note(PackageStatus(KEY, "ready", package=served(manifest)))

    def take(
        self,
        logits: NDArray[np.float64],
        origin: Origin = "prior",
        labels: NDArray[np.int64] | None = None,
        class_logits: NDArray[np.float64] | None = None,
    ) -> None:
        scored = ScoredSamples(
            package=KEY,
            origin=origin,
            logits=logits.astype(np.float32),
            labels=labels,
            class_logits=None if class_logits is None else class_logits.astype(np.float32),
        )
        self.monitor.observe(scored)

    def value(self, name: str, origin: Origin | None = "prior") -> float | None:
        labels = {"model": "toy", "version": "1"} | ({} if origin is None else {"origin": origin})
        return self.registry.get_sample_value(f"ganymede_drift_{name}", labels)

    @property
    def index(self) -> float | None:
        return self.value("population_stability_index")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def watched(tmp_path: Path, rng: np.random.Generator) -> Watched:
    return Watched(manifest_of(tmp_path, rng.standard_normal(AT_EXPORT)))


def test_samples_as_at_export_never_come_near_the_alarm(watched: Watched, rng: np.random.Generator) -> None:
    indices = []
    for _ in range(1500):
        watched.take(rng.standard_normal(16))
        indices.append(watched.index or 0.0)
    full = np.array(indices[WINDOW // 16 :])
    # (bins − 1)·(1/window + 1/export): the mean of its distribution.
    assert full.mean() == pytest.approx(9 * (1 / WINDOW + 1 / AT_EXPORT), rel=0.25)
    assert max(indices) < ALARM / 2


@pytest.mark.parametrize(("shift", "most"), [(-20.0, 130), (-2.0, 170), (-1.0, 350), (1.0, 350)])
def test_an_alarm_takes_no_more_samples_than_the_runbook_says(
    watched: Watched, rng: np.random.Generator, shift: float, most: int
) -> None:
    watched.take(rng.standard_normal(WINDOW))
    taken = 0
    while (watched.index or 0.0) <= ALARM and taken < WINDOW:
        watched.take(rng.standard_normal(1) + shift)
        taken += 1
    assert 50 < taken <= most


def test_logits_of_few_values_are_compared_by_their_shares(tmp_path: Path, rng: np.random.Generator) -> None:
    shares = [0.55, 0.25, 0.15, 0.05]
    judged = reference(tmp_path, rng.choice(4, AT_EXPORT, p=shares).astype(float))
    equal = [judged.stability_index(rng.choice(4, WINDOW, p=shares).astype(float)) for _ in range(200)]
    assert max(equal) < ALARM / 2
    assert judged.stability_index(rng.choice(4, WINDOW, p=shares[::-1]).astype(float)) > ALARM


def test_a_constant_discriminator_is_no_drift(tmp_path: Path) -> None:
    assert reference(tmp_path, np.zeros(AT_EXPORT)).stability_index(np.zeros(WINDOW)) == pytest.approx(0, abs=0.02)


def test_fewer_samples_at_export_make_fewer_bins(tmp_path: Path, rng: np.random.Generator) -> None:
    few = rng.standard_normal(100)
    judged = reference(tmp_path, few)
    assert np.median([judged.stability_index(rng.standard_normal(WINDOW)) for _ in range(200)]) < 0.1


def test_no_gauge_is_shown_before_there_are_samples_enough(watched: Watched, rng: np.random.Generator) -> None:
    watched.take(rng.standard_normal(LEAST - 1))
    assert (watched.index, watched.value("samples_total")) == (None, LEAST - 1)
    watched.take(rng.standard_normal(1))
    assert watched.index is not None
    assert watched.value("realness") == pytest.approx(watched.value("realness_at_export", None), abs=0.1)


def test_samples_that_callers_steered_count_apart(watched: Watched, rng: np.random.Generator) -> None:
    watched.take(rng.standard_normal(WINDOW))
    before = watched.index
    watched.take(rng.standard_normal(WINDOW) + 5, "chosen")
    assert watched.index == before
    assert (watched.value("population_stability_index", "chosen") or 0) > ALARM


def test_wrong_and_missing_classes_show(tmp_path: Path, rng: np.random.Generator) -> None:
    logits = rng.standard_normal(AT_EXPORT)
    manifest = manifest_of(tmp_path, logits, conditional=True, label_count=CLASSES, unknown_label=True)
    watched, reader = Watched(manifest), served(manifest).unknown_label
    assert reader is not None
    assert watched.monitor.reads_classes(KEY)
    by_class = rng.standard_normal((4000, CLASSES)) * 4
    recognised = reader.read(by_class.astype(np.float32)).labels
    labels = np.resize(np.arange(CLASSES), WINDOW)
    rows = np.array([rng.choice(np.flatnonzero(recognised == label)) for label in labels])
    watched.take(rng.standard_normal(WINDOW), labels=labels, class_logits=by_class[rows])
    assert watched.value("label_agreement") == 1
    assert watched.value("modes") == watched.value("modes_asked") == pytest.approx(CLASSES)
    one = np.full(WINDOW, int(np.flatnonzero(recognised == 0)[0]))
    watched.take(rng.standard_normal(WINDOW), labels=labels, class_logits=by_class[one])
    assert watched.value("label_agreement") == pytest.approx(1 / CLASSES)
    assert watched.value("modes") == pytest.approx(1)
    assert watched.value("modes_asked") == pytest.approx(CLASSES)


def test_a_package_without_readable_classes_shows_none(watched: Watched, rng: np.random.Generator) -> None:
    watched.take(rng.standard_normal(WINDOW))
    assert watched.monitor.watches(KEY)
    assert not watched.monitor.watches(PackageKey("toy", 2))
    assert not watched.monitor.reads_classes(KEY)
    assert watched.value("label_agreement") is watched.value("modes") is watched.value("modes_asked") is None


def test_a_package_that_is_unloaded_leaves_no_series(watched: Watched, rng: np.random.Generator) -> None:
    watched.take(rng.standard_normal(WINDOW))
    watched.monitor.note(PackageStatus(KEY, "unloading"))
    watched.take(rng.standard_normal(WINDOW))  # one that was being scored
    shown = [
        sample.name
        for family in watched.registry.collect()
        for sample in family.samples
        if "_drift_" in sample.name and sample.labels
    ]
    assert shown == []


@pytest.mark.parametrize(
    ("kinds", "number"), [([0, 1, 2, 3], 4.0), ([2, 2, 2], 1.0), ([0, 0, 1, 1, 1, 1], 1.89), ([5], 1.0)]
)
def test_the_effective_number_counts_equal_shares(kinds: list[int], number: float) -> None:
    assert effective_number(np.array(kinds)) == pytest.approx(number, abs=0.01)
