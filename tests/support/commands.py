"""Every command of every program, from the parsers; the table of docs/command-line.md is made from it.

`python -m tests.support.commands` prints the table.
"""

import argparse
import sys
from collections.abc import Iterator

import benchmarks.__main__ as benchmarks
import ganymede.__main__ as both
import service.__main__ as service
from training import cli as training

PROGRAMS = {
    "python -m training": training.parser,
    "python -m service": service.parser,
    "python -m benchmarks": benchmarks.parser,
    "ganymede": both.parser,
}


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a program; none of one whose commands parse their own arguments."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0]) if found else {}


def summaries(parser: argparse.ArgumentParser) -> dict[str, str]:
    """What each command does, in a sentence."""
    return {name: str(each.description) for name, each in subparsers(parser).items()}


def has_json(parser: argparse.ArgumentParser) -> bool:
    """Whether a command has `--json`."""
    return any("--json" in action.option_strings for action in parser._actions)


def table() -> Iterator[str]:
    """The table of the page, in Markdown."""
    yield "| command | does | `--json` |"
    yield "| --- | --- | --- |"
    for program in ("python -m training", "python -m service"):
        parser = PROGRAMS[program]()
        for name, each in subparsers(parser).items():
            yield f"| `{program} {name}` | {summaries(parser)[name]} | {'yes' if has_json(each) else ''} |"
    for name, (_, meaning) in benchmarks.COMMANDS.items():
        yield f"| `python -m benchmarks {name}` | {meaning[0].upper()}{meaning[1:]}. | |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
