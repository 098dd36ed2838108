"""Runs the steps of a run on its device: directly, with inputs that are fed ahead, or as captured graphs.

    direct     on a CPU: the inputs are drawn when they are asked for
    fed        on a GPU: those of the next step are drawn meanwhile and sent in one copy
    captured   with [trainer] cuda_graph: fed, and the kernels of a whole step are launched by one call

Which kernels a step has depends on which of the objective's terms are due, so there is one graph with and one without
lazy penalties. Graphs and what they read and write stay where they are; restoring a checkpoint replaces optimizer
states, so graphs are captured anew.
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

from training.loop.captured import CapturedStep, Graphs
from training.loop.plan import Plan
from training.loop.step import Step, Values, scalars
from training.objectives.base import Objective
from training.state.feeder import Feeder, Slots
from training.state.inputs import DirectInputs, Inputs, RecordedInputs

Readings = dict[str, Tensor]


class Runner(Protocol):
    """Runs steps."""

    def run(self, iteration: int) -> Readings:
        """Run the step of an iteration; returns its readings, scalars on the device."""
        ...

    def forget(self) -> None:
        """Forget what a checkpoint that is about to be restored replaces."""
        ...


def structure(objective: Objective) -> Hashable:
    """What decides which terms an objective has: which of its numbers are 0."""
    numbers = {
        entry.name: getattr(objective, entry.name)
        for entry in dataclasses.fields(objective)  # type: ignore[arg-type]  # every objective is a dataclass
    }
    return tuple(name for name, value in numbers.items() if isinstance(value, int | float) and value)


class DirectRunner:
    """Draws inputs when they are asked for."""

    def __init__(self, step: Step, plan: Plan, device: torch.device) -> None:
        self._step = step
        self._plan = plan
        self._device = device

    def run(self, iteration: int) -> Readings:
        """Run the step of an iteration."""
        inputs = DirectInputs(self._plan.inputs(iteration), self._device)
        return self._step.run(self._plan.objective(iteration), inputs, self._plan.values(iteration))

    def forget(self) -> None:
        """Nothing is kept."""


class FedRunner:
    """Draws the inputs of the next step while the device computes this one.

    Args:
        graphs: captures steps; None leaves them uncaptured.
    """

    def __init__(self, step: Step, plan: Plan, device: torch.device, graphs: Graphs | None = None) -> None:
        self._step = step
        self._plan = plan
        self._device = device
        self._graphs = graphs
        self._slots: dict[Hashable, Slots] = {}
        self._captured: dict[Hashable, CapturedStep] = {}
        self._feeder = Feeder(plan.inputs, lambda iteration: self._slots.get(structure(plan.objective(iteration))))

    def run(self, iteration: int) -> Readings:
        """Run the step of an iteration; the first with its terms is drawn directly, to learn what it asks for."""
        objective = self._plan.objective(iteration)
        key = structure(objective)
        slots = self._slots.get(key)
        if slots is None:
            inputs = RecordedInputs(self._plan.inputs(iteration), self._device)
            readings = self._step.run(objective, inputs, self._values(iteration, objective, inputs))
            self._slots[key] = Slots(inputs.asked, self._device)
            return readings
        work = self._work(iteration, objective, slots)
        if self._graphs is None:
            self._feeder.send(iteration, slots)
            return work()
        captured = self._captured.setdefault(key, CapturedStep(self._graphs))
        return captured.run(lambda: self._feeder.send(iteration, slots), work)

    def forget(self) -> None:
        """Forget graphs and inputs that were drawn ahead."""
        self._feeder.forget()
        self._captured.clear()

    def _work(self, iteration: int, objective: Objective, slots: Slots) -> Callable[[], Readings]:
        def work() -> Readings:
            slots.rewind()
            return self._step.run(objective, slots, self._values(iteration, objective, slots))

        return work

    def _values(self, iteration: int, objective: Objective, inputs: Inputs) -> Values:
        return self._plan.values(iteration) if self._graphs is None else scalars(inputs, objective)
