"""What the commands share: parsers that suggest, completion, exit codes, JSON results, colours.

    main ──▶ parse ──▶ command(arguments) ──▶ its result as one JSON document on stdout, if --json asks for it

With --json everything else that a command says is on stderr.
"""

import argparse
import difflib
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from training.errors import INTERRUPTED_EXIT_CODE, USAGE_EXIT_CODE, TrainingError
from training.tables import NEAREST_CUTOFF, nearest

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # argparse has no public name for it

Command = Callable[[argparse.Namespace], object]

EXTRA: Final = frozenset({"torch", "accelerate", "sklearn", "scipy", "tqdm", "tensorboard", "onnxscript", "jsonschema"})
COLOURS: Final = {"red": 31, "green": 32, "yellow": 33}
LONGEST_COMMAND: Final = 14  # with its indentation
WRAP_INDENT: Final = 9
DEEPEST_RUN: Final = 4  # folders below the current one that are searched for runs


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence on stderr, which names the nearest valid word."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D102 - the overloads of argparse
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word, options = unknown[0].partition("=")[0], [name for act in self._actions for name in act.option_strings]
            close = difflib.get_close_matches(word, options, 1, NEAREST_CUTOFF) if word.startswith("-") else []
            self.error(f"there is no argument {word}" + (f'; did you mean "{close[0]}"?' if close else ""))
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """As argparse's, which lists the choices and suggests none of them."""
        if action.choices is not None and value not in action.choices:
            kind = action.metavar or "/".join(action.option_strings) or action.dest
            self.error(f'there is no {kind} "{value}"{nearest(str(value), map(str, action.choices))}')

    def error(self, message: str) -> NoReturn:
        """End the process with the sentence."""
        ended = message if message.endswith("?") else f"{message};"
        self.exit(USAGE_EXIT_CODE, f"{ended} `{self.prog} --help` shows the arguments\n")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps commands beside their descriptions: argparse forgets that it indents them, and breaks the longest."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = LONGEST_COMMAND


def program(name: str, version: str, description: str, examples: Sequence[tuple[str, str]]) -> Parser:
    """Make the parser of a whole program.

    Args:
        name: as it is typed, such as `python -m training`.
        examples: commands without the program's name, and what each does.
    """
    parser = Parser(
        prog=name,
        description=textwrap.fill(description, shutil.get_terminal_size().columns),
        epilog=f"examples:\n{_columns([(f'{name} {command}', does) for command, does in examples])}",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ganymede {version}")
    return parser


def add(commands: "Commands", name: str, summary: str, command: Command, example: str, result: str = "") -> Parser:
    """Register a command.

    Args:
        example: its arguments, as one would type them.
        result: what `--json` prints; empty for a command without it.
    """
    parser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: %(prog)s {example}".rstrip()
    )
    parser.set_defaults(command=command, json=False)
    if result:
        parser.add_argument("--json", action="store_true", help=f"print {result} as one JSON document on stdout")
    return parser


def completed(action: argparse.Action, choose: Callable[..., Iterable[str]]) -> None:
    """Have a shell complete an argument.

    Args:
        choose: called with `prefix` and more, as argcomplete does.
    """
    action.completer = choose  # type: ignore[attr-defined]  # argcomplete's protocol


def add_run(parser: Parser, words: str) -> None:
    """Add the argument RUN."""
    completed(parser.add_argument("run", type=Path, metavar="RUN", help=words), complete_runs)


def add_data_path(parser: Parser, words: str = "path of the data, if it has moved") -> None:
    """Add the option --data-path."""
    parser.add_argument("--data-path", metavar="FOLDER", help=words)


def add_checkpoint(parser: Parser) -> None:
    """Add the option --checkpoint."""
    parser.add_argument(
        "--checkpoint",
        type=_choice,
        default="newest",
        metavar="newest|best|SAMPLES",
        help="of a run: the newest (the default), the best by what evaluate_every_samples measured, or that of a "
        "number of samples, if it is kept",
    )


def _choice(text: str) -> int | str:
    if text in {"newest", "best"}:
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f'it is newest, best or a number of samples, not "{text}"')


def main(parser: Parser, arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run its command.

    Args:
        parser: its commands are registered by `add`.
        arguments: None takes the process's own.

    Returns:
        The process's exit code.
    """
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        import argcomplete  # noqa: PLC0415 - needed for this alone

        argcomplete.autocomplete(parser)
    asked = parser.parse_args(arguments)
    try:
        with redirect_stdout(sys.stderr) if asked.json else nullcontext():
            result = asked.command(asked)
    except TrainingError as error:
        if asked.json and error.result is not None:
            _print_json(error.result)
        note(coloured(str(error), "red", sys.stderr))
        return error.exit_code
    except KeyboardInterrupt:
        note("stopped")
        return INTERRUPTED_EXIT_CODE
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        note(f"this needs {error.name}; install the extra for training: pip install 'ganymede-gan[train]'")
        return USAGE_EXIT_CODE
    if asked.json:
        _print_json(result)
    return 0


def say(line: str) -> None:
    """Print a line for people; with --json it is on stderr."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a line that is no result."""
    sys.stderr.write(f"{line}\n")


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Colour a text, if the stream shows colours: a terminal does, unless NO_COLOR is set; FORCE_COLOR forces it.

    Args:
        colour: of `COLOURS`.
        stream: where it is written; standard output by default.
    """
    shown = sys.stdout if stream is None else stream
    if os.environ.get("NO_COLOR"):
        wanted = False
    else:
        wanted = bool(os.environ.get("FORCE_COLOR")) or (shown.isatty() and os.environ.get("TERM") != "dumb")
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if wanted else text


def wrapped(text: str) -> str:
    """Fold a line at the width of the terminal, further lines indented; unchanged where there is no terminal."""
    if not sys.stdout.isatty():
        return text
    width, indent = shutil.get_terminal_size().columns, " " * WRAP_INDENT
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


class _PipeSafeStream:
    """A stream that ignores a closed pipe: `train … | head` trains to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; drop the text if the pipe is closed."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Flush; do nothing if the pipe is closed."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def __getattr__(self, name: str) -> object:
        """Forward everything else to the stream."""
        return getattr(self._stream, name)

    def _discard(self) -> None:
        """Send the rest, and what the interpreter flushes at its end, to the null device."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def run(program_main: Callable[[], int]) -> NoReturn:
    """Run a program to its end, even if the reader of its output has gone, and end the process.

    One of several (torchrun) is ended without the destructors of C++: those of torch's communication sometimes meet a
    thread of theirs that still runs, which aborts a process whose work is done and stored.
    """
    sys.stdout, sys.stderr = _PipeSafeStream(sys.stdout), _PipeSafeStream(sys.stderr)
    code = program_main()
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def complete_runs(prefix: str, **_: object) -> list[str]:
    """Folders of runs below the current one, or below the prefix."""
    return _folders_with("config.toml", prefix)


def complete_packages(prefix: str, **_: object) -> list[str]:
    """Folders of packages' versions."""
    return _folders_with("manifest.json", prefix)


def _folders_with(file: str, prefix: str) -> list[str]:
    start = Path(prefix if prefix.endswith("/") else os.path.dirname(prefix) or ".")  # noqa: PTH120 - a path's parent is no prefix
    found: list[str] = []
    for folder, below, files in os.walk(start):
        below[:] = [] if file in files else sorted(name for name in below if not name.startswith("."))
        if folder.count(os.sep) - str(start).count(os.sep) >= DEEPEST_RUN:
            below.clear()
        if file in files and os.path.normpath(folder) != ".":
            found.append(os.path.normpath(folder))
    return found


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns; where the terminal is too narrow for both, the second under the first."""
    first, second = (max(map(len, column)) for column in zip(*rows, strict=True))
    if shutil.get_terminal_size().columns >= first + second + len("    "):
        return "\n".join(f"  {left:<{first}}  {right}" for left, right in rows)
    width, indent = shutil.get_terminal_size().columns, " " * 6
    return "\n".join(
        f"  {left}\n{textwrap.fill(right, width, initial_indent=indent, subsequent_indent=indent)}"
        for left, right in rows
    )


def _print_json(result: object) -> None:
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
