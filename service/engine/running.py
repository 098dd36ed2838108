"""A running graph, asked by what its tensors mean rather than by what its package calls them.

It stands between jobs, which speak of roles (latent, sample, logit), and the batcher, which passes tensors by name and
knows no meaning. Nothing else translates.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from service.engine.batcher import Batcher
from service.engine.draws import Draw
from service.engine.graphs import Role
from service.engine.inputs import Rows
from service.engine.roles import Tensors
from service.engine.runners import Array

RoleRows = Mapping[Role, Array]
# Writes the inputs of samples `start` … `stop` − 1 by role; as `RowSource` otherwise.
RoleSource = Callable[[int, int, RoleRows], Sequence[Draw]]


@dataclass(frozen=True, slots=True)
class RunningGraph:
    """A graph that showed what it must, behind its batcher.

    Attributes:
        batcher: where it runs.
        inputs: its inputs by role.
        outputs: its outputs by role.
    """

    batcher: Batcher
    inputs: Tensors
    outputs: Tensors

    async def ask(
        self, source: RoleSource, samples: int, wanted: Collection[Role], deadline: float | None
    ) -> dict[Role, Array]:
        """Have samples computed; as `Batcher.ask`, but by role.

        Args:
            source: writes the inputs of samples `start` … `stop` − 1; called on a model thread.
            samples: how many.
            wanted: outputs to fetch.
            deadline: on `time.monotonic`; None never.
        """

        def write(start: int, stop: int, rows: Rows) -> Sequence[Draw]:
            return source(start, stop, {role: rows[tensor.name] for role, tensor in self.inputs.items()})

        results = await self.batcher.ask(write, samples, [self.outputs[role].name for role in wanted], deadline)
        return {role: results[self.outputs[role].name] for role in wanted}
