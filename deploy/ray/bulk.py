"""Bulk generation as a Ray Data job: rows are numbers of shards, and actors draw them into a folder that all hosts see.

    RAY_ADDRESS=auto python -m deploy.ray.bulk /shared/digits --n 1000000 --model mnist --format tar

The arguments are those of `python -m service bulk`, the files too: either goes on with what the other has begun. What
a lost actor was drawing is drawn by another one.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data

from service.__main__ import parser
from service.bulk.command import LOOK_S, USAGE, wanted_of
from service.bulk.folder import BulkFolder
from service.bulk.opening import Wanted, open_drawing
from service.bulk.plan import BulkRefused, Plan
from service.errors import GanymedeError
from service.settings import PREFIX, Settings

# Rows that one task has: a lost actor's are drawn anew by another, of which the finished ones are only looked at.
MOST_BLOCKS = 10_000


class DrawShards:
    """An actor: loads the package once, on one core, and draws the shards that it is given."""

    def __init__(self, folder: str) -> None:
        settings = Settings()
        settings = settings.model_copy(update={"model_threads": settings.model_threads or 1})
        self._folder = BulkFolder(Path(folder))
        self._runner = asyncio.Runner()
        self._open = open_drawing(settings, self._folder)  # held open until the actor's process ends
        self._plan, self._drawing = self._runner.run(self._enter())

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Draw shards: in their numbers, out with the SHA-256 of each."""
        hashes = [self._runner.run(self._draw(int(number))) for number in rows["shard"]]
        return {"shard": rows["shard"], "sha256": np.array(hashes)}

    async def _enter(self) -> Any:  # noqa: ANN401 - a coroutine of what the context manager yields
        return await self._open.__aenter__()

    async def _draw(self, number: int) -> str:
        shard = self._plan.shard(number)
        while not await self._drawing.draw(self._folder, shard):  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(LOOK_S)  # the process of a lost actor may not have ended yet
        record = self._folder.record(shard)
        return "" if record is None else record.sha256


async def planned(folder: Path, wanted: Wanted) -> Plan:
    """Write the plan, or go on with the one that is there."""
    async with open_drawing(Settings(), BulkFolder(folder), wanted) as (plan, _):
        return plan


def main(arguments: Sequence[str]) -> int:
    """Run the job; returns the process's exit code."""
    asked = parser().parse_args(["bulk", *arguments])
    folder = asked.folder.resolve()
    try:
        plan = asyncio.run(planned(folder, wanted_of(asked)))
    except (BulkRefused, GanymedeError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    variables = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    ray.init(runtime_env={"env_vars": variables})
    there = BulkFolder(folder)
    left = [{"shard": shard.number} for shard in plan.shards() if there.finished(shard) is None]
    if left:
        actors = max(1, min(len(left), int(ray.cluster_resources()["CPU"])))
        # Rows come from here and go back here: a task that read or counted them would wait for an actor's core.
        drawn = ray.data.from_items(left, override_num_blocks=min(len(left), MOST_BLOCKS)).map_batches(
            DrawShards,
            fn_constructor_args=(str(folder),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
        )
        for row in drawn.iter_rows():
            sys.stderr.write(f"shard {row['shard']}: SHA-256 {row['sha256']}\n")
    complete = there.complete(plan)
    sys.stdout.write(f"{folder}: {len(left):,} of {plan.shard_count:,} shards drawn now\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
