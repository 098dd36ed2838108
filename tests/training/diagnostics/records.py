"""Records of runs that nobody trained: rows as a run would write them."""

from collections.abc import Sequence

from tests.training import small
from training.diagnostics.finding import Record
from training.diagnostics.history import Event
from training.diagnostics.memorisation import Memorisation
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
NEW = Memorisation(generated=3.0, held_out=3.1, copies=0.01)


def record(
    *,
    seen: int = 1_280,
    events: Sequence[Event] = (),
    memorisation: Memorisation | None = NEW,
    objective: dict[str, Value] | None = None,
    **readings: float,
) -> Record:
    """A run of ten measurements, all alike: a healthy one's, with some readings changed."""
    theory = {f"theory/{name}": figure for name, figure in {**HEALTHY, **readings}.items()}
    rows = [{"samples": float(samples), "critic/total": 0.6, **theory} for samples in range(128, 1_281, 128)]
    return Record(small.config(objective=objective or {}), rows, events, seen, memorisation)
