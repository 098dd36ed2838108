"""Synthetic records of runs: rows as a run would write them."""

from collections.abc import Sequence

from tests.support import small
from training.diagnostics.findings import RunRecord
from training.diagnostics.measures.inspection import CriticView, Inspection
from training.diagnostics.measures.memorisation import Memorisation
from training.diagnostics.measures.two_sample import TwoSample
from training.state.history import Event
from training.tables import Value

HEALTHY = {
    "paired_accuracy": 0.7,
    "diversity": 0.95,
    "unrest": 0.05,
    "modes": 10.0,
    "modes_of_real": 10.0,
    "in_a_mode": 1.0,
    "mode_reverse_kl": 0.02,
    "birthday_pairs": 1.0,
    "support_low": 9_000.0,
    "probe_samples": 256.0,
    "gradient": 0.3,
    "paired_jsd_bound": 0.1,
}
NEW = Memorisation(generated=3.0, held_out=3.1, copies=0.01, near=0.97)
SOUND = Inspection(
    two_sample=TwoSample(accuracy=0.68, accuracy_error=0.02, auc=0.73, auc_error=0.02, tested=256),
    memorisation=NEW,
    critic=CriticView(told_apart=0.7, known=0.55, spread=0.5),
    moved=1.3,
    silent_layers=0,
)


def record(
    *,
    seen: int = 64_000,
    events: Sequence[Event] = (),
    inspection: Inspection | None = SOUND,
    objective: dict[str, Value] | None = None,
    **readings: float,
) -> RunRecord:
    """A run of ten measurements, all alike: a healthy one's at its end, with some readings changed."""
    theory = {f"theory/{name}": figure for name, figure in {**HEALTHY, **readings}.items()}
    rows = [{"samples": float(samples), "critic/total": 0.6, **theory} for samples in range(6_400, 64_001, 6_400)]
    config = small.config(objective=objective or {}, trainer={"total_samples": 64_000})
    return RunRecord(config, rows, events, seen, inspection)
