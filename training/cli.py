"""The command line: one small function a command, each registering its own arguments.

A command imports what it needs only when it runs, so that `--help` answers at once. What goes wrong in an expected way
is one sentence on stderr; the exit codes are those of `training.errors`.
"""

# ruff: noqa: PLC0415 - torch takes seconds to import, and a command line should not
import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from training.errors import TrainingError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # argparse has no public name for it

Command = Callable[[argparse.Namespace], None]

DESCRIPTION: Final = "Train generative adversarial networks and turn them into packages that the service serves."
EXAMPLES: Final = """\
examples:
  python -m training train r3gan-digits --out runs/digits      a minute on any machine, nothing to download
  python -m training data mnist                                fetch MNIST once
  python -m training train r3gan-mnist --out runs/mnist        handwritten digits
  python -m training resume runs/mnist                         go on after Ctrl-C, a crash or a reboot
  python -m training export runs/mnist --name mnist            make a package that the service serves
  tensorboard --logdir runs                                    watch the curves
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None takes the process's own.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for register in (_register_train, _register_resume, _register_export, _register_evaluate, _register_data):
        register(commands)
    parsed = parser.parse_args(arguments)
    try:
        parsed.command(parsed)
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _add(commands: "Commands", name: str, summary: str, command: Command) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _register_train(commands: "Commands") -> None:
    parser = _add(commands, "train", "Train a pair from nothing.", _train)
    parser.add_argument(
        "config", metavar="CONFIG", help="a TOML file, or the stem of a shipped one such as r3gan-mnist"
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder for the run; it must not hold one yet")
    parser.add_argument("--data-path", metavar="FOLDER", help="where the data lies, instead of [data] path")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained and how fast; write nothing")


def _train(arguments: argparse.Namespace) -> None:
    from training import config as configuration
    from training import run

    config = configuration.load(configuration.find(arguments.config))
    if arguments.data_path is not None:
        config = configuration.with_data_path(config, arguments.data_path)
    if arguments.dry_run:
        run.rehearse(config, _say)
    elif arguments.out is None:
        raise TrainingError("train needs --out RUN, the folder for the run (or --dry-run, to only look)")
    else:
        run.start(config, arguments.out, _say)


def _register_resume(commands: "Commands") -> None:
    parser = _add(commands, "resume", "Go on with a run from its newest checkpoint, to the same end.", _resume)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--data-path", metavar="FOLDER", help="where the data lies now, if it has moved")


def _resume(arguments: argparse.Namespace) -> None:
    from training import run

    run.resume(arguments.run, _say, arguments.data_path)


def _register_export(commands: "Commands") -> None:
    parser = _add(commands, "export", "Make a package of a run, measured and ready to serve.", _export)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--name", help="of the package; by default the configuration's")
    parser.add_argument("--version", type=int, metavar="N", help="of the package; by default the next free one")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="FOLDER", help="where packages are; by default models"
    )
    parser.add_argument("--license", metavar="TEXT", help="of the weights: an SPDX identifier or a sentence")
    parser.add_argument("--data-path", metavar="FOLDER", help="where the data lies now, if it has moved")


def _export(arguments: argparse.Namespace) -> None:
    from training.export import export_run

    export_run(
        arguments.run,
        arguments.models,
        arguments.name,
        arguments.version,
        _say,
        data_path=arguments.data_path,
        license_text=arguments.license,
    )


def _register_evaluate(commands: "Commands") -> None:
    parser = _add(commands, "evaluate", "Measure the samples of a run or a package.", _evaluate)
    parser.add_argument("place", type=Path, metavar="RUN|PACKAGE", help="folder of the run, or of a package's version")
    parser.add_argument("--data-path", metavar="FOLDER", help="where the data lies now, if it has moved")


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.measure import measure

    measure(arguments.place, _say, arguments.data_path)


def _register_data(commands: "Commands") -> None:
    parser = _add(commands, "data", "Fetch a data set once and check it.", _data)
    parser.add_argument("name", choices=("mnist", "digits"), help="which; digits is bundled and needs no fetching")


def _data(arguments: argparse.Namespace) -> None:
    from training.data import digits, mnist

    if arguments.name == "mnist":
        where = mnist.download()
        images = mnist.load(mnist.MnistConfig(path=str(where)))
    else:
        images = digits.load(digits.DigitsConfig())
    _say(f"{images.name}: {len(images.train):,} images to train on, {len(images.held_out):,} held out")
