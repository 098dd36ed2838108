"""Steps as a GPU runs them, rehearsed on the CPU: fed ahead and captured, with the bits of plain ones."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support import games, small
from training import config as configuration
from training import data, keys, objectives
from training.config import Config
from training.data import DigitsConfig, digits
from training.errors import ConfigError
from training.loop import captured
from training.loop.runner import structure
from training.loop.trainer import Trainer
from training.objectives.base import TIMED_WEIGHTS
from training.tables import Value

DIGITS = digits.load(DigitsConfig())
STEPS = 12  # of each structure some are drawn directly, some warm up, some are replayed


def with_ramp(config: Config) -> Config:
    """The warps' term is left out of the first step."""
    game: Any = config.objective
    return dataclasses.replace(config, objective=dataclasses.replace(game, steady_ramp=0.5))


GAMES: dict[str, Config] = {
    "relativistic": small.config(),
    "flips and critic steps": small.config(trainer={"horizontal_flips": True, "critic_steps": 2}),
    "labels": small.config(generator={"conditional": True}),
    "packs": small.config(discriminator={"pack": 2}),
    "lazy penalties": small.config(objective={"penalty_every_steps": 2}),
    "adaptive augmentation": small.config(
        augmentation={"kind": "ada", "target": 0.01, "adjustment_samples": 160}, trainer={"critic_steps": 2}
    ),
    "in parts": small.config(augmentation={"kind": "ada"}, discriminator={"pack": 2}, trainer={"accumulate": 2}),
    "diffaugment": small.config(augmentation={"kind": "diffaugment"}),
    "slope penalty": small.config(objective={"kind": "wasserstein_gp", "gamma_final_fraction": 0.5}),
    "clamped weights": small.config(objective={"kind": "wasserstein"}),
    "spectral norm and decay": small.config(
        discriminator={"spectral_norm": True},
        objective={"kind": "hinge"},
        trainer={"weight_decay_generator": 0.01, "ema_half_life_samples": 0},
    ),
    "codes, warps and a ramp": with_ramp(games.infogan(weight_steady=1.0)),
    "pairs": games.bigan(),
    "f-divergence": small.config(objective={"kind": "fgan", "divergence": "jeffrey"}),
}


def same(left: object, right: object) -> bool:
    """Whether two nested states agree bit for bit."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def trainer(config: Config, *, rehearse: bool, graph: bool = False) -> Trainer:
    pace = dataclasses.replace(config.trainer, cuda_graph=graph)
    return Trainer(dataclasses.replace(config, trainer=pace), DIGITS, rehearse=rehearse)


def run(training: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        training.step()
    return training


@pytest.mark.parametrize("config", GAMES.values(), ids=GAMES.keys())
def test_fed_and_captured_steps_have_the_bits_of_plain_ones(config: Config) -> None:
    plain = run(trainer(config, rehearse=False), STEPS).checkpoint()["state"]
    fed = run(trainer(config, rehearse=True), STEPS).checkpoint()["state"]
    graph = run(trainer(config, rehearse=True, graph=True), STEPS).checkpoint()["state"]
    for part, value in plain.items():
        assert same(fed[part], value), part  # type: ignore[literal-required]  # a part of the same kind
        assert same(graph[part], value), part  # type: ignore[literal-required]  # a part of the same kind


def test_so_have_steps_over_items_and_users_that_begin_with_pretraining() -> None:
    config = configuration.load(keys.find("irgan-planted"))
    game: Any = config.objective
    pace = dataclasses.replace(config.trainer, batch_size=32)
    config = dataclasses.replace(config, objective=dataclasses.replace(game, pretraining_steps=6), trainer=pace)
    items = data.load(config.data)
    states = []
    for rehearse, graph in ((False, False), (True, False), (True, True)):
        chosen = dataclasses.replace(config, trainer=dataclasses.replace(pace, cuda_graph=graph))
        states.append(run(Trainer(chosen, items, rehearse=rehearse), 2 * captured.STEPS_BEFORE_REPLAY + 4))
    plain, fed, graphed = (training.checkpoint()["state"] for training in states)
    assert same(fed, plain)
    assert same(graphed, plain)


WAITING = {"aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.lift_fresh"}


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # not in torch's own types
    """Collects operations that make the CPU wait for a GPU, or copy to it from memory that is not pinned."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        function: torch._ops.OpOverload[Any, Any],
        _types: object,
        arguments: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> object:
        if str(function.overloadpacket) in WAITING:
            self.found.append(str(function))
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("config", GAMES.values(), ids=GAMES.keys())
def test_a_fed_step_never_waits_for_the_device(config: Config) -> None:
    training = run(trainer(config, rehearse=True), 5)
    with Waits() as waits:
        run(training, 2)
    assert waits.found == []
    with Waits() as waits:
        training.check_finite()
    assert waits.found


@pytest.mark.parametrize("graph", [False, True], ids=["fed", "captured"])
def test_they_are_restored_exactly_while_inputs_are_drawn_ahead(*, graph: bool) -> None:
    config = GAMES["adaptive augmentation"]
    whole = run(trainer(config, rehearse=True, graph=graph), 10)
    training = run(trainer(config, rehearse=True, graph=graph), 6)
    saved = copy.deepcopy(training.checkpoint()["state"])
    run(training, 3).restore(saved)
    assert same(run(training, 4).checkpoint(), whole.checkpoint())


@pytest.mark.parametrize("graph", [False, True], ids=["fed", "captured"])
def test_a_rollback_halves_the_rates_of_steps_that_were_drawn_before(*, graph: bool) -> None:
    states = []
    for training in (trainer(small.config(), rehearse=False), trainer(small.config(), rehearse=True, graph=graph)):
        run(training, 6)
        training.roll_back(copy.deepcopy(training.checkpoint()["state"]), "a test")
        states.append(run(training, 6).checkpoint()["state"])
    assert same(*states)


def test_readings_are_not_overwritten_by_later_steps() -> None:
    training = trainer(small.config(), rehearse=True, graph=True)
    readings = [training.step()["critic/total"] for _ in range(8)]
    assert len({reading.item() for reading in readings}) == 8


def test_the_terms_of_an_objective_decide_its_structure_and_their_weights_do_not() -> None:
    game = small.config(objective={"penalty_every_steps": 2}).objective
    assert structure(game.at(0.1, 0)) == structure(game.at(0.9, 2)) != structure(game.at(0.1, 1))


@pytest.mark.parametrize("kind", objectives.KINDS)
def test_weights_that_change_with_time_are_named_so_that_a_graph_reads_them(kind: str) -> None:
    numbers = {"gamma_r1": 1.0, "gamma_r2": 1.0, "gamma_final_fraction": 0.1, "weight_steady": 1.0, "steady_ramp": 0.9}
    part: Any = objectives.KINDS[kind]
    known = {entry.name for entry in dataclasses.fields(part)}
    game = part(**{name: value for name, value in numbers.items() if name in known})
    early, late = game.at(0.3, 0), game.at(0.7, 0)
    changed = {name for name in known if getattr(early, name) != getattr(late, name)}
    assert changed <= set(TIMED_WEIGHTS)


def test_a_cpu_has_no_graphs() -> None:
    with pytest.raises(ConfigError, match=r"^\[trainer\] cuda_graph needs a CUDA device, and this run is on cpu$"):
        trainer(small.config(), rehearse=False, graph=True)


@pytest.mark.parametrize(
    ("processes", "changes", "reason"),
    [
        (2, {}, "captures the step of one process, and 2 train together"),
        (1, {"optimizer": "rmsprop"}, 'captures Adam\'s steps; optimizer = "rmsprop" keeps its own on the CPU'),
        (1, {"precision": "fp16"}, "cannot capture precision fp16, where each step waits for the loss scale"),
    ],
)
def test_what_cannot_be_captured_is_refused(processes: int, changes: dict[str, Value], reason: str) -> None:
    config, device = small.config(trainer={"cuda_graph": True, **changes}), torch.device("cuda")
    with pytest.raises(ConfigError) as caught:
        captured.check(config, device, processes)
    assert reason in str(caught.value)
    captured.check(small.config(trainer=changes), device, processes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(GAMES.keys() - {"slope penalty"}))  # a graph draws other places between samples
def test_on_a_card_captured_steps_stay_near_plain_ones(name: str) -> None:
    config = GAMES[name]
    pace = dataclasses.replace(config.trainer, deterministic=True)
    plain, graph = (
        run(trainer(dataclasses.replace(config, trainer=pace), rehearse=False, graph=graph), STEPS)
        for graph in (False, True)
    )
    for one, other in zip(plain.ema.parameters(), graph.ema.parameters(), strict=True):
        assert (one - other).abs().mean() < 1e-4
