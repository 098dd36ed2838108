"""`python -m service`: serve the packages of a folder, draw many samples to files, make a key, or check a package.

Exit codes: 0 after SIGTERM or SIGINT, 1 where a configured model cannot be loaded, the device is lost or a checked
package is refused, 2 for a mistake on the command line or a setting or file of keys that is not valid, 130 after Ctrl-C
in a check.
"""
# PYTHON_ARGCOMPLETE_OK: a shell's completion looks for this word.

import argparse
import difflib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from pydantic import ValidationError

from service import __version__, logs
from service.settings import PREFIX, Settings, reference

if TYPE_CHECKING:
    from service.bulk.plan import Part

    Commands = argparse._SubParsersAction[Any]  # argparse has no public name for it

DESCRIPTION = "Serve the packages of a models folder: POST /generate, POST /score. Settings are environment variables:"
# Paragraphs, folded to the terminal's width.
BULK = """
Sample i has seed SEED + i and the bytes that POST /generate answers for it; settings are those of the service. FOLDER
gets plan.json, which says what is drawn, then a file for each shard, then index.jsonl with seeds, count, size and
SHA-256 of each.

A shard is there once it is complete. Killed or stopped, the same command goes on, and so does
`python -m service bulk FOLDER` alone; options that are given must be those of the plan.

Several machines take --part 1/4 to --part 4/4, into a shared folder or one each; with all shards in one folder, the
command without --part writes the index. Several processes of one machine may be given the same folder."""
USAGE = 2  # argparse's own code for a mistake on the command line
INTERRUPTED = 130
NEAREST_CUTOFF = 0.5  # similarity below which a suggestion misleads more than it helps

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence on stderr, which names the nearest command."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            close = difflib.get_close_matches(str(value), map(str, action.choices), 1, NEAREST_CUTOFF)
            self.error(f'there is no {action.metavar} "{value}"' + (f'; did you mean "{close[0]}"?' if close else ""))

    def error(self, message: str) -> NoReturn:
        """End the process with the sentence."""
        ended = message if message.endswith("?") else f"{message};"
        self.exit(USAGE, f"{ended} `{self.prog} --help` shows the arguments\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; without any, the service, until it is told to end.

    Args:
        arguments: of the command line; None takes the process's own.

    Returns:
        The process's exit code.
    """
    made = parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may come next
        import argcomplete  # noqa: PLC0415  (needed for this alone)

        argcomplete.autocomplete(made)
    asked = made.parse_args(arguments)
    try:
        code: int = asked.run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return INTERRUPTED
    except BrokenPipeError:  # `… | head`: the reader has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def parser() -> Parser:
    """Make the parser of every command."""
    made = Parser(
        prog="python -m service",
        description=textwrap.fill(DESCRIPTION, shutil.get_terminal_size().columns),
        epilog="\n".join([*_described_settings(), "", "example: GANYMEDE_PORT=9000 %(prog)s"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"ganymede {__version__}")
    made.set_defaults(run=_serve)
    register(made.add_subparsers(metavar="COMMAND", title="commands"))
    return made


def register(commands: "Commands") -> None:
    """Register every command; each sets `run`, which takes the arguments and returns the exit code."""
    _add(commands, "serve", "Serve until SIGTERM or Ctrl-C (the default).", _serve, "")
    listed = _add(commands, "settings", "Print the settings as a Markdown page.", _settings, "> docs/configuration.md")
    listed.add_argument("--json", dest="as_json", action="store_true", help="print their JSON Schema instead")
    _register_key(commands)
    checked = _add(
        commands,
        "check",
        "Vet, load and replay packages as the service would, without serving them; exit code 1 if one is refused.",
        _check,
        "models/mnist/4",
    )
    package = checked.add_argument(
        "packages", type=Path, nargs="+", metavar="PACKAGE", help="folder of a version, as in models/mnist/4"
    )
    package.completer = _complete_packages  # type: ignore[attr-defined]  # argcomplete's protocol
    checked.add_argument("--json", dest="as_json", action="store_true", help="print one JSON document on stdout")
    _register_bulk(commands)


def _register_bulk(commands: "Commands") -> None:
    made = _add(
        commands,
        "bulk",
        "Draw many samples to files, without serving: resumable, and the same bytes however often it is killed.",
        _bulk,
        "out/digits --n 1000000 --model mnist --format tar",
    )
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.epilog = f"{_wrapped(BULK)}\n\n{made.epilog}"
    made.add_argument("folder", type=Path, metavar="FOLDER", help="of the run: new, empty, or to go on with")
    made.add_argument("--n", type=_count, metavar="N", help="how many samples; needed where the run begins")
    made.add_argument("--seed", type=_seed, metavar="SEED", help="of the first one (default: 0)")
    made.add_argument("--model", metavar="NAME", help="package (default: GANYMEDE_DEFAULT_MODEL)")
    made.add_argument("--label", metavar="CLASS", help="number or name (default: drawn from each seed)")
    made.add_argument(
        "--parameters",
        metavar="JSON",
        help='more of a POST /generate, as \'{"version": 4, "truncation": 1, "select": {"method": "rejection"}}\'',
    )
    made.add_argument(
        "--format",
        choices=("npy", "tar"),
        metavar="FORM",
        help="`npy` (the default), an array a shard; `tar`, as WebDataset: a file and a .json of seed, class, codes "
        "and scores for each sample",
    )
    made.add_argument(
        "--dtype", choices=("uint8", "float32"), metavar="TYPE", help="of NPY shards of images (default: uint8)"
    )
    made.add_argument("--shard-size", type=_count, metavar="N", help="samples in each file (default: 10000)")
    made.add_argument(
        "--part",
        type=_part,
        default="1/1",
        metavar="I/N",
        help="draw or check every N-th shard alone, from the I-th on",
    )
    doing = made.add_mutually_exclusive_group()
    doing.add_argument("--verify", action="store_true", help="check every shard there against the index; draw nothing")
    doing.add_argument("--repair", action="store_true", help="check, and then draw what is damaged or missing")
    made.add_argument("--json", dest="as_json", action="store_true", help="print one JSON document on stdout")


def _count(text: str) -> int:
    number = _seed(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return number


def _seed(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit()) or int(digits[:20]) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {2**63 - 1}")
    return int(digits)


def _part(text: str) -> "Part":
    from service.bulk.plan import Part  # noqa: PLC0415  (needed for this alone)

    try:
        return Part.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _wrapped(paragraphs: str) -> str:
    width = shutil.get_terminal_size().columns
    return "\n\n".join(textwrap.fill(each.strip(), width) for each in paragraphs.split("\n\n"))


def _register_key(commands: "Commands") -> None:
    made = _add(
        commands,
        "key",
        "Make a key for a caller, print it this once, and add its hash to the file of keys.",
        _key,
        "alice --file keys.toml --samples-per-second 100",
    )
    made.add_argument("name", metavar="NAME", help="how logs and metrics call it: letters, digits, _ and -")
    made.add_argument(
        "--file", type=Path, metavar="FILE", help="append it to this file, which GANYMEDE_KEYS_FILE names"
    )
    made.add_argument(
        "--role", default="inference", metavar="ROLE", choices=("inference", "admin"),
        help="`inference` (the default) or `admin`, which may load and unload models, too",
    )  # fmt: skip
    made.add_argument("--samples-per-second", type=float, metavar="N", help="how many it may ask for over time")
    made.add_argument("--burst", type=int, metavar="N", help="how many at once (default: those of ten seconds)")
    made.add_argument("--weight", type=float, metavar="W", default=1.0, help="share of a busy graph (default: 1)")


def _add(
    commands: "Commands", name: str, summary: str, run: Callable[[argparse.Namespace], int], example: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=f"example: %(prog)s {example}".replace("> ", ">").rstrip()
    )
    made.set_defaults(run=run)
    return made


def _serve(_asked: argparse.Namespace) -> int:
    settings = _read_settings()
    _check_storage(settings)
    settings = _with_only_package(settings)
    _check_keys(settings)
    logs.configure(settings.log_format, settings.log_level)
    for name, nearest in _unknown_variables(os.environ):
        logger.warning("unknown setting", name=name, nearest=nearest)
    if settings.api_workers > 1:
        from service.multiprocess.supervisor import supervise  # noqa: PLC0415  (imports nothing of the service proper)

        return supervise(settings)
    from service import tracing  # noqa: PLC0415  (the parent of several processes is spared all of this)
    from service.app import create_app  # noqa: PLC0415
    from service.server.run import serve  # noqa: PLC0415

    return serve(create_app(settings, traces=tracing.from_environment(os.environ)), settings)


def _settings(asked: argparse.Namespace) -> int:
    lines = [json.dumps(Settings.model_json_schema(), indent=2)] if asked.as_json else reference()
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _check(asked: argparse.Namespace) -> int:
    settings = _read_settings()
    from service import check  # noqa: PLC0415  (imports what serves)

    return check.run(asked.packages, settings, as_json=asked.as_json)


def _bulk(asked: argparse.Namespace) -> int:
    from service.bulk import command  # noqa: PLC0415  (imports what serves)

    return command.run(asked, _read_settings)


def _key(asked: argparse.Namespace) -> int:
    from service.access.key_file import make_key  # noqa: PLC0415  (needed for this alone)
    from service.access.keys import Entry, KeysRefused  # noqa: PLC0415

    granted = {"role": asked.role, "samples_per_second": asked.samples_per_second, "burst": asked.burst}
    try:
        entry = Entry(sha256="0" * 64, weight=asked.weight, **granted)
        key, lines = make_key(asked.name, entry, asked.file)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        return _refuse(f"{option}: {first['msg'].removeprefix('Value error, ')}")
    except KeysRefused as refused:
        return _refuse(str(refused))
    except OSError as error:
        return _refuse(f"{asked.file}: {error.strerror}")
    if asked.file is None:
        sys.stderr.write(
            f"The key of {asked.name}, which is shown this once, follows these lines for the file of keys:\n\n"
        )
        sys.stderr.write(f"{lines}\n")
    sys.stderr.flush()
    sys.stdout.write(f"{key}\n")
    return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return USAGE


def _complete_packages(**_: object) -> list[str]:
    return [str(path.parent) for path in sorted(Path().glob("*/*/*/manifest.json"))]


def _read_settings() -> Settings:
    """Read the settings of the environment; ends the process where one is not valid."""
    try:
        return Settings()
    except ValidationError as error:
        sys.stderr.writelines(f"{sentence}\n" for sentence in _bad_settings(error))
        sys.exit(USAGE)


def _with_only_package(settings: Settings) -> Settings:
    """Have the only package of a folder be the default where none is named; children read it from the environment."""
    folder = settings.models_dir
    if "default_model" in settings.model_fields_set:
        return settings
    if isinstance(folder, str):
        from service.packages.repository.mirror import only_model  # noqa: PLC0415  (needed for this alone)

        name = only_model(folder, settings.cache_dir)
    elif os.path.lexists(folder / "manifest.json"):
        from service.packages.repository.scan import only_package  # noqa: PLC0415  (needed for this alone)

        found = only_package(folder)
        name = None if found is None else found.name
    else:
        name = None
    if name is None:
        return settings
    os.environ[f"{PREFIX}DEFAULT_MODEL"] = name
    return _read_settings()


def _check_storage(settings: Settings) -> None:
    """End the process where packages are in object storage, and what reads it is not installed."""
    url = settings.models_dir
    if isinstance(url, str):
        from service.packages.repository.store import what_is_missing, without_secrets  # noqa: PLC0415  (as above)

        missing = what_is_missing(url)
        if missing is not None:
            sys.exit(_refuse(f"GANYMEDE_MODELS_DIR={without_secrets(url)!r}: {missing}."))


def _check_keys(settings: Settings) -> None:
    """End the process where its callers need keys and there are none; while it runs, the last valid ones go on."""
    from service.access.hosts import why_not_listen  # noqa: PLC0415  (only what serves needs it)

    refusal = why_not_listen(settings.host, settings.keys_file, settings.without_keys)
    if refusal is not None:
        sys.exit(_refuse(f"GANYMEDE_HOST={settings.host!r}: {refusal}."))
    if not settings.keys_file:
        return
    from service.access.key_file import KeyFile  # noqa: PLC0415  (needed where there are keys)
    from service.access.keys import KeysRefused  # noqa: PLC0415

    try:
        KeyFile(Path(settings.keys_file)).read()
    except KeysRefused as refused:
        sys.exit(
            _refuse(f"GANYMEDE_KEYS_FILE={settings.keys_file!r}: {refused}; `python -m service key NAME` makes keys.")
        )


def _described_settings() -> Iterator[str]:
    width = shutil.get_terminal_size().columns - 2
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        yield f"  {PREFIX}{name.upper()} (default: {default if default != '' else 'empty'})"
        words = (field.description or "").replace("%", "%%")
        yield textwrap.fill(words, width, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _bad_settings(error: ValidationError) -> Iterator[str]:
    for found in error.errors(include_url=False):
        name = PREFIX + str(found["loc"][0]).upper()
        yield f"{name}={found['input']!r}: {found['msg']}."


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Find variables that look like settings and are none, each with the nearest one.

    A warning and not an error: Kubernetes sets GANYMEDE_PORT_8000_TCP and the like when a Service is called ganymede.
    """
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            yield name, next(iter(difflib.get_close_matches(name.upper(), known, 1)), None)


if __name__ == "__main__":
    sys.exit(main())
