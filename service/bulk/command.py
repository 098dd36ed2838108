"""The command `bulk`: draws what is left of a run, or checks what is there, and says how to go on.

Exit codes: 0 where all shards asked for are there, 1 where a check found something, 2 for what must change first (the
command line, the plan, a package, a full disk), 130 after Ctrl-C and 143 after SIGTERM.
"""

import argparse
import asyncio
import errno
import json
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from tqdm import tqdm

from service import logs
from service.bulk.folder import BulkFolder
from service.bulk.opening import Wanted, open_drawing
from service.bulk.plan import PLAN, BulkRefused, Part, Plan
from service.bulk.verify import Finding, verify
from service.errors import GanymedeError, InvalidRequest
from service.settings import Settings

FOUND: Final = 1
USAGE: Final = 2
SIGNALLED: Final = 128  # and the signal's number, as a shell says it
# Between looks at shards that another process writes.
LOOK_S: Final = 0.5
# Of the bar: on a terminal, and in a log file, where nothing is redrawn.
TERMINAL_REFRESH_S: Final = 0.5
LOG_FILE_REFRESH_S: Final = 30.0
UNREMARKABLE_S: Final = 2.0  # shorter work needs no bar


def run(asked: argparse.Namespace, read_settings: Callable[[], Settings]) -> int:
    """Run the command.

    Args:
        asked: the arguments of `register` in `service/__main__.py`.
        read_settings: ends the process where they are not valid; nothing is loaded without them.

    Returns:
        The process's exit code.
    """
    logs.configure("console", "warning", sys.stderr)
    bulk = Bulk(BulkFolder(asked.folder), asked.part, as_json=asked.as_json)
    try:
        if asked.verify:
            return bulk.verify()
        if asked.repair:
            bulk.remove_damaged()
        return asyncio.run(bulk.until_signal(bulk.draw(read_settings(), wanted_of(asked))))
    except InvalidRequest as error:
        said = "; ".join(f"{'.'.join(map(str, each.loc[1:]))}: {each.msg}" for each in error.problems)
        return _refuse(f"the request is not valid: {said}")
    except (BulkRefused, GanymedeError) as error:
        return _refuse(str(error))
    except OSError as error:
        words = f"{error.filename or asked.folder}: {error.strerror}"
        if error.errno == errno.ENOSPC:
            words += f"; {bulk.standing()}; make room, and run the command again to go on"
        return _refuse(words)


class Bulk:
    """One call of the command.

    Args:
        folder: of the run.
        part: of its shards.
        as_json: print one JSON document on stdout instead of lines.
    """

    def __init__(self, folder: BulkFolder, part: Part, *, as_json: bool) -> None:
        self._folder, self._part, self._as_json = folder, part, as_json

    async def draw(self, settings: Settings, wanted: Wanted) -> int:
        """Draw the shards that are not finished."""
        async with open_drawing(settings, self._folder, wanted) as (plan, drawing):
            shards = list(plan.shards(self._part))
            left = [shard for shard in shards if self._folder.finished(shard) is None]
            found = len(shards) - len(left)
            total, to_draw = sum(shard.count for shard in shards), sum(shard.count for shard in left)
            with _bar(f"{plan.model}/{plan.version}", total, total - to_draw) as bar:
                while left:
                    left = [shard for shard in left if not await drawing.draw(self._folder, shard, bar.update)]
                    if left:  # another process writes them; should it end before, they are drawn here
                        await asyncio.sleep(LOOK_S)
            complete = self._folder.complete(plan)
        samples = f"{total:,} samples of {plan.model}/{plan.version} in {len(shards):,} shards"
        here = f"{len(shards) - found:,} drawn now" if found else "all drawn now"
        more = "" if complete else f"; of the whole run {self._standing(plan, Part())}"
        self._say([f"{self._folder.path}: {samples}, {here}{more}"])
        self._document(plan, {"shards": len(shards), "samples": total, "found": found, "complete": complete})
        return 0

    def verify(self) -> int:
        """Check what is there, and change nothing."""
        plan = self._known_plan()
        findings = self._findings(plan)
        shards = len(range(self._part.index - 1, plan.shard_count, self._part.of))
        self._say([f"{self._folder.path / each.file} {each.problem}" for each in findings])
        if not findings:
            self._say([f"{self._folder.path}: {shards:,} shards, all as the index says"])
        elif not self._as_json:
            sys.stderr.write(f"`{self._command('--repair')}` removes what is damaged and draws what is not there\n")
        self._document(plan, {"shards": shards, "findings": [each.as_document() for each in findings]})
        return FOUND if findings else 0

    def remove_damaged(self) -> None:
        """Remove shards whose bytes are not those of the index."""
        for finding in self._findings(self._known_plan()):
            if finding.redo:
                sys.stderr.write(f"{self._folder.path / finding.file} {finding.problem}: it is drawn again\n")
                (self._folder.path / finding.file).unlink(missing_ok=True)

    async def until_signal(self, work: Coroutine[Any, Any, int]) -> int:
        """Do the work; on the first SIGINT or SIGTERM drop the shard that is being written, and say how to go on."""
        loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
        caught: list[signal.Signals] = []

        def stop(number: signal.Signals) -> None:
            if not caught:
                task.cancel()
            caught.append(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not caught:
                raise
            sys.stderr.write(f"stopped: {self.standing()}; `{self._command()}` goes on\n")
            return SIGNALLED + caught[0]

    def standing(self) -> str:
        """How far the part is, in words."""
        plan = None
        with suppress(BulkRefused, OSError):
            plan = self._folder.read_plan()
        return "nothing is drawn yet" if plan is None else self._standing(plan, self._part)

    def _standing(self, plan: Plan, part: Part) -> str:
        finished = [self._folder.finished(shard) is not None for shard in plan.shards(part)]
        return f"{sum(finished):,} of {len(finished):,} shards are there"

    def _known_plan(self) -> Plan:
        plan = self._folder.read_plan()
        if plan is None:
            raise BulkRefused(f"{self._folder.path} has no {PLAN}, so it is the folder of no run")
        return plan

    def _findings(self, plan: Plan) -> list[Finding]:
        total = sum(shard.count for shard in plan.shards(self._part))
        with _bar("checking", total, 0) as bar:
            return list(verify(self._folder, plan, self._part, bar.update))

    def _command(self, *options: str) -> str:
        """What to type to go on."""
        part = () if self._part == Part() else ("--part", f"{self._part.index}/{self._part.of}")
        return shlex.join(["python", "-m", "service", "bulk", str(self._folder.path), *part, *options])

    def _say(self, lines: list[str]) -> None:
        if not self._as_json:
            sys.stdout.writelines(f"{line}\n" for line in lines)

    def _document(self, plan: Plan, found: Mapping[str, object]) -> None:
        if self._as_json:
            about = {"folder": str(self._folder.path), "part": [self._part.index, self._part.of], **found}
            sys.stdout.write(json.dumps(about | {"plan": plan.model_dump(mode="json")}, indent=2) + "\n")


def wanted_of(asked: argparse.Namespace) -> Wanted:
    """What the arguments ask for.

    Raises:
        BulkRefused: `--parameters` is no JSON object.
    """
    request = None
    if asked.parameters is not None:
        try:
            request = json.loads(asked.parameters)
        except (ValueError, RecursionError) as error:
            raise BulkRefused(f"--parameters is not JSON ({error}); the shell may have taken the quotes") from error
        if not isinstance(request, dict):
            raise BulkRefused("--parameters is no object; write it as in '{\"truncation\": 1.0}'")
    return Wanted(
        n=asked.n,
        seed=asked.seed,
        request=request,
        model=asked.model,
        label=asked.label,
        format=asked.format,
        dtype=asked.dtype,
        shard_size=asked.shard_size,
    )


def _bar(what: str, total: int, initial: int) -> "tqdm[None]":
    is_terminal = sys.stderr.isatty()
    refresh_s = TERMINAL_REFRESH_S if is_terminal else LOG_FILE_REFRESH_S
    return tqdm(
        desc=what,
        total=total,
        initial=initial,
        unit="sample",
        unit_scale=True,
        delay=UNREMARKABLE_S,
        mininterval=refresh_s,
        maxinterval=refresh_s,
        leave=False,
        dynamic_ncols=is_terminal,
    )


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return USAGE
