"""A running graph, asked by what its tensors mean rather than by what its package calls them.

It stands between jobs, which speak of roles (latent, sample, logit), and the batcher, which answers outputs by name and
knows no meaning.
"""

from collections.abc import Collection
from dataclasses import dataclass

from service.engine.batcher import Batcher
from service.engine.graphs import Role
from service.engine.request import RowSource
from service.engine.roles import Tensors
from service.engine.runners import Array


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
        self,
        source: RowSource,
        samples: int,
        wanted: Collection[Role],
        deadline: float | None,
        *,
        ordinary: bool = True,
    ) -> dict[Role, Array]:
        """Have samples computed; as `Batcher.ask`, but by role.

        Args:
            source: writes the inputs of samples `start` … `stop` − 1.
            samples: how many.
            wanted: outputs to fetch.
            deadline: on `time.monotonic`; None never.
            ordinary: as in `Batcher.ask`.
        """
        names = {role: self.outputs[role].name for role in wanted}
        results = await self.batcher.ask(source, samples, list(names.values()), deadline, ordinary=ordinary)
        return {role: results[name] for role, name in names.items()}
