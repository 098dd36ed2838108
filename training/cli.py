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
  python -m training train --data-path pictures --out runs/p   your own images, a folder of them
  python -m training resume runs/mnist                         continue after Ctrl-C, a crash or a reboot
  python -m training export runs/mnist --name mnist            make a package that the service serves
  tensorboard --logdir runs                                    watch the curves
  python -m training diagnose runs/mnist                       its problems, and what to try
  python -m training verify                                    check the objectives against theory
  python -m training keys trainer                              the keys of [trainer], with defaults
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for register in (
        _register_train,
        _register_resume,
        _register_export,
        _register_calibrate,
        _register_evaluate,
        _register_diagnose,
        _register_report,
        _register_data,
        _register_reproduce,
        _register_verify,
        _register_keys,
    ):
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


def _note(line: str) -> None:
    """What is no result, where standard output is for a program."""
    sys.stderr.write(f"{line}\n")


def _register_train(commands: "Commands") -> None:
    parser = _add(commands, "train", "Train a new run.", _train)
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a TOML file, or the stem of a shipped one such as r3gan-mnist; if omitted, one is chosen for the images "
        "of --data-path",
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder for the run; it must not hold one yet")
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, instead of [data] path")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained and how fast; write nothing")


def _train(arguments: argparse.Namespace) -> None:
    from training import keys

    if arguments.config is None and arguments.data_path is None:
        raise TrainingError("train needs a CONFIG such as r3gan-digits, or a folder of images: --data-path FOLDER")
    path = None if arguments.config is None else keys.find(arguments.config)
    if path is not None:
        keys.check_file(path)  # answers before torch is imported

    from training import config as configuration
    from training.loop import run

    if path is None:
        config = configuration.for_folder(arguments.data_path)
    else:
        config = configuration.load(path)
        if arguments.data_path is not None:
            config = configuration.with_data_path(config, arguments.data_path)
    if arguments.dry_run:
        run.dry_run(config, _say)
    elif arguments.out is None:
        raise TrainingError("train needs --out RUN, the folder for the run (or --dry-run, to only look)")
    else:
        run.start(config, arguments.out, _say)


def _register_resume(commands: "Commands") -> None:
    parser = _add(commands, "resume", "Resume a run from its newest checkpoint.", _resume)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")


def _resume(arguments: argparse.Namespace) -> None:
    from training.loop import run

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
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")


def _export(arguments: argparse.Namespace) -> None:
    from training.export.export import export_run

    export_run(
        arguments.run,
        arguments.models,
        arguments.name,
        arguments.version,
        _say,
        data_path=arguments.data_path,
        license_text=arguments.license,
    )


def _register_calibrate(commands: "Commands") -> None:
    parser = _add(commands, "calibrate", "Publish a package of classes again, with scores without a label.", _calibrate)
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder of the version, as in models/mnist/4")
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="whose [data] has the held-out samples; by default the package's own configuration",
    )
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")


def _calibrate(arguments: argparse.Namespace) -> None:
    from training.export.recalibration import calibrate_package

    calibrate_package(arguments.package, _say, config_name=arguments.config, data_path=arguments.data_path)


def _register_evaluate(commands: "Commands") -> None:
    parser = _add(commands, "evaluate", "Measure the samples of a run or a package.", _evaluate)
    parser.add_argument("place", type=Path, metavar="RUN|PACKAGE", help="folder of the run, or of a package's version")
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of a table")
    own = parser.add_argument_group("custom features")
    own.add_argument(
        "--features", type=Path, metavar="FILE", help="ONNX graph from images to features, such as Inception or DINO"
    )
    own.add_argument(
        "--features-range",
        choices=("bytes", "unit", "symmetric", "imagenet"),
        help="what a graph of floats takes pixels as: 0 to 255, 0 to 1, -1 to 1, or ImageNet's mean and deviation",
    )
    own.add_argument(
        "--features-size", type=int, metavar="PIXELS", help="side of the images, if the graph does not fix it"
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.export.graphs.features import ExtractorFile
    from training.export.measure import as_json, as_text, measure

    given = arguments.features and ExtractorFile(
        path=arguments.features, value_range=arguments.features_range, size=arguments.features_size
    )
    found = measure(arguments.place, _note if arguments.json else _say, arguments.data_path, given)
    for line in [as_json(found)] if arguments.json else as_text(found):
        _say(line)


def _register_diagnose(commands: "Commands") -> None:
    parser = _add(commands, "diagnose", "Diagnose a run and say what to try.", _diagnose)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, finished or not")
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")


def _diagnose(arguments: argparse.Namespace) -> None:
    from training.diagnostics import report
    from training.diagnostics.findings import as_json, as_text

    path, findings = report.write(arguments.run, arguments.data_path)
    _say(as_json(path, findings) if arguments.json else as_text(path, findings))


def _register_report(commands: "Commands") -> None:
    parser = _add(commands, "report", "Write RUN/report.html: diagnosis, curves and samples on one page.", _report)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run, finished or not")
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, if it has moved")


def _report(arguments: argparse.Namespace) -> None:
    from training.diagnostics import report

    path, _ = report.write(arguments.run, arguments.data_path)
    _say(f"{path}")


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


def _register_reproduce(commands: "Commands") -> None:
    parser = _add(commands, "reproduce", "Run the experiment behind a row of the results table.", _reproduce)
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the row")
    parser.add_argument("--list", action="store_true", help="list the experiments and their targets")
    parser.add_argument("--table", action="store_true", help="print the table of the published results, in Markdown")
    parser.add_argument("--seeds", type=int, metavar="N", help="number of seeds; by default as many as were published")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="number of the first one; by default 0")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/reproduce"),
        metavar="FOLDER",
        help="for runs and results; seeds finished there are not run again; by default runs/reproduce",
    )
    parser.add_argument("--data-path", metavar="FOLDER", help="path of the data, instead of the usual one")


def _reproduce(arguments: argparse.Namespace) -> None:
    from training.experiments import EXPERIMENTS, results, runner, table

    if arguments.list:
        lines = table.listed(EXPERIMENTS.values())
    elif arguments.table:
        published = results.published()
        lines = [table.markdown([published[name] for name in EXPERIMENTS if name in published])]
    elif arguments.name is None:
        raise TrainingError("reproduce needs the NAME of a row; `python -m training reproduce --list` shows them")
    else:
        experiment = runner.find(arguments.name, EXPERIMENTS)
        count = experiment.seeds if arguments.seeds is None else arguments.seeds
        if count < 1 or arguments.first_seed < 0:
            raise TrainingError("reproduce needs at least one seed (--seeds 1), and none below 0 (--first-seed 0)")
        seeds = range(arguments.first_seed, arguments.first_seed + count)
        lines = table.printed(runner.reproduce(experiment, seeds, arguments.out, arguments.data_path, _say))
    for line in lines:
        _say(line)


def _register_keys(commands: "Commands") -> None:
    parser = _add(commands, "keys", "List every key that a configuration may have.", _keys)
    parser.add_argument("table", nargs="?", metavar="TABLE", help="of one table alone, such as trainer or objective")


def _keys(arguments: argparse.Namespace) -> None:
    from training import keys

    for line in keys.reference(arguments.table):
        _say(line)


def _register_verify(commands: "Commands") -> None:
    parser = _add(commands, "verify", "Check the objectives against theory.", _verify)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON instead of a table")


def _verify(arguments: argparse.Namespace) -> None:
    from training.verification import VerificationError, report, verify

    findings = verify()
    for line in [report.to_json(findings)] if arguments.json else report.table(findings):
        _say(line)
    broken = report.failure(findings)
    if broken is not None:
        raise VerificationError(broken)
