"""What a step of each game costs on this machine, apart from its long runs: games take turns, so that load is shared.

On a CPU it is the processor's time, which other processes lengthen less than the clock's; on an accelerator the
clock's.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from training import config as configuration
from training import data
from training.config import Config
from training.errors import DataError
from training.experiments.comparison.games import GAMES, RATES, TOTAL_SAMPLES, configured
from training.files import write_atomically
from training.loop.trainer import Trainer
from training.progress import progress

FILE: Final = "cost.json"
ROUNDS: Final = 5
STEPS: Final = 8  # of a game in a round
WARM_UP: Final = 3

Costs = dict[str, list[float]]  # of each game, milliseconds of a step in each round


def measured(data_path: str | None) -> Costs:
    """Time steps of every game.

    Raises:
        TrainingError: if the data cannot be read.
    """
    configs = {name: _config(name, data_path) for name in GAMES}
    images = data.load(next(iter(configs.values())).data)
    trainers = {name: Trainer(config, images) for name, config in configs.items()}
    clock = time.process_time if next(iter(trainers.values())).device.type == "cpu" else time.perf_counter
    for trainer in trainers.values():
        _steps(trainer, WARM_UP, clock)
    costs: Costs = {name: [] for name in trainers}
    for _ in progress(range(ROUNDS), "timing steps", ROUNDS, "round"):
        for name, trainer in trainers.items():
            costs[name].append(_steps(trainer, STEPS, clock))
    return costs


def _config(name: str, data_path: str | None) -> Config:
    config = configured(name, rate=RATES[0], total_samples=TOTAL_SAMPLES, seed=0)
    return config if data_path is None else configuration.with_data_path(config, data_path)


def _steps(trainer: Trainer, count: int, clock: Callable[[], float]) -> float:
    """Milliseconds of a step."""
    began_s = clock()
    for _ in range(count):
        trainer.step()
    trainer.check_finite()  # waits for the device, too
    return (clock() - began_s) / count * 1_000


def write(costs: Costs, origin: Mapping[str, object], folder: Path) -> None:
    """Write the costs with the machine they were measured on."""
    rounded = {name: [round(cost, 2) for cost in each] for name, each in costs.items()}
    document = {"origin": dict(origin), "step_ms": rounded}
    write_atomically(folder / FILE, (json.dumps(document, indent=2) + "\n").encode())


def read(folder: Path) -> dict[str, float]:
    """Read the median milliseconds of a step of each game.

    Raises:
        DataError: if the file is missing or none of these.
    """
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))["step_ms"]
        return {name: statistics.median(each) for name, each in found.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"cannot read the costs in {folder / FILE}: {error}") from error
