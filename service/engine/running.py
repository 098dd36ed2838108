"""A running graph, asked by what its tensors mean rather than by what its package calls them.

It stands between jobs, which speak of roles (latent, sample, logit), and the batcher, which passes tensors by name and
knows no meaning. Nothing else translates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.engine.batcher import Batcher
from service.engine.graphs import Role
from service.engine.roles import Tensors
from service.engine.session import Array, Rows

RolesSource = Callable[[int, int], Mapping[Role, Array]]


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
        self, source: RolesSource, samples: int, wanted: set[Role], deadline: float | None
    ) -> dict[Role, Array]:
        """Have samples computed; as `Batcher.ask`, but by role.

        Args:
            source: the inputs of samples `start` … `stop` − 1; called on the model thread.
            samples: how many.
            wanted: outputs to fetch.
            deadline: on `time.monotonic`; None never.
        """

        def rows(start: int, stop: int) -> Rows:
            by_role = source(start, stop)
            return {tensor.name: by_role[role] for role, tensor in self.inputs.items()}

        names = {role: self.outputs[role].name for role in sorted(wanted)}
        results = await self.batcher.ask(rows, samples, list(names.values()), deadline)
        return {role: results[name] for role, name in names.items()}
