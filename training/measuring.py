"""The commands that look at what there is: evaluate, diagnose, report, reproduce, verify, theory, cache."""

# ruff: noqa: PLC0415 - torch takes seconds to import, and a command line should not
import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from training.command_line import (
    add,
    add_data_path,
    add_run,
    coloured,
    complete_packages,
    complete_runs,
    completed,
    note,
    say,
    wrapped,
)
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.command_line import Commands


def register(commands: "Commands") -> None:
    """Register the commands of this module."""
    for command in (
        _register_evaluate,
        _register_diagnose,
        _register_report,
        _register_reproduce,
        _register_verify,
        _register_theory,
        _register_cache,
    ):
        command(commands)


def _register_evaluate(commands: "Commands") -> None:
    parser = add(
        commands, "evaluate", "Measure the samples of a run or a package.", _evaluate, "models/mnist/4", "the figures"
    )
    place = parser.add_argument(
        "place", type=Path, metavar="RUN|PACKAGE", help="folder of the run, or of a package's version"
    )
    completed(place, lambda prefix, **_: complete_runs(prefix) + complete_packages(prefix))
    add_data_path(parser)
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


def _evaluate(arguments: argparse.Namespace) -> object:
    from training.export.graphs.features import ExtractorFile
    from training.export.measure import as_text, document, measure

    given = arguments.features and ExtractorFile(
        path=arguments.features, value_range=arguments.features_range, size=arguments.features_size
    )
    found = measure(arguments.place, say, arguments.data_path, given)
    for line in () if arguments.json else as_text(found):
        say(line)
    return document(found)


def _register_diagnose(commands: "Commands") -> None:
    parser = add(commands, "diagnose", "Diagnose a run and say what to try.", _diagnose, "runs/digits", "the findings")
    add_run(parser, "folder of the run, finished or not")
    add_data_path(parser)


def _diagnose(arguments: argparse.Namespace) -> object:
    from training.diagnostics import report
    from training.diagnostics.findings import as_text, document, mood_of

    path, findings = report.write(arguments.run, arguments.data_path)
    colours = {
        finding.name: {"bad": "red", "good": "green"}.get(mood_of(finding.name), "yellow") for finding in findings
    }
    for line in () if arguments.json else as_text(path, findings):
        name, colon, rest = line.partition(":")
        say(coloured(name, colours[name]) + colon + wrapped(rest) if name in colours else wrapped(line))
    return document(path, findings)


def _register_report(commands: "Commands") -> None:
    parser = add(
        commands,
        "report",
        "Write the page of a run (RUN/report.html) with its film, or compare runs side by side (comparison.html).",
        _report,
        "runs/",
        "the page's path, findings and figures",
    )
    runs = parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a run, finished or not; several, or a folder of runs",
    )
    completed(runs, complete_runs)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="of a comparison; by default comparison.html in the folder of the runs"
    )
    add_data_path(parser)


def _report(arguments: argparse.Namespace) -> object:
    from training.diagnostics import comparison, report

    places = arguments.runs
    if arguments.out is None and comparison.find(places) == places[:1]:
        path, _ = report.write(places[0], arguments.data_path)
        say(f"{path}")
        return report.document_of(places[0])
    path, content = comparison.write(places, arguments.out, arguments.data_path)
    say(f"{path}")
    for run, reason in content["unread"].items():
        note(f"left out: {run}: {reason}")
    return content


def _register_reproduce(commands: "Commands") -> None:
    parser = add(
        commands,
        "reproduce",
        "Run the experiment behind a row of the results table.",
        _reproduce,
        "ring --seeds 1",
        "the row, or with --list or --table all of them,",
    )
    name = parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of the row; `comparison` plays every game of docs/comparison.md"
    )
    completed(name, _complete_rows)
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


def _reproduce(arguments: argparse.Namespace) -> object:
    from training.experiments import EXPERIMENTS, comparison, results, runner, table

    result: object
    if arguments.list:
        lines = table.listed(EXPERIMENTS.values())
        result = [
            {"name": each.name, "system": each.system, "seeds": each.seeds, "targets": each.targets}
            for each in EXPERIMENTS.values()
        ]
    elif arguments.table:
        published = results.published()
        rows = [published[name] for name in EXPERIMENTS if name in published]
        lines, result = [table.markdown(rows)], [results.document(row) for row in rows]
    elif arguments.name is None:
        raise TrainingError("reproduce needs the NAME of a row; `python -m training reproduce --list` shows them")
    elif arguments.name == comparison.NAME:
        found = comparison.reproduce(_seeds(arguments, comparison.SEEDS), arguments.out, arguments.data_path, say)
        lines, result = [], {name: results.document(row) for name, row in found.items()}
    else:
        experiment = runner.find(arguments.name, EXPERIMENTS)
        seeds = _seeds(arguments, experiment.seeds)
        row = runner.reproduce(experiment, seeds, arguments.out, arguments.data_path, say)
        lines, result = table.printed(row), results.document(row)
    for line in () if arguments.json else lines:
        say(line)
    return result


def _seeds(arguments: argparse.Namespace, published: int) -> range:
    count = published if arguments.seeds is None else arguments.seeds
    if count < 1 or arguments.first_seed < 0:
        raise TrainingError("reproduce needs at least one seed (--seeds 1), and none below 0 (--first-seed 0)")
    return range(arguments.first_seed, arguments.first_seed + count)


def _complete_rows(**_: object) -> list[str]:
    return ["comparison", *(file.stem for file in (Path(__file__).parent / "results").glob("*.json"))]


def _register_verify(commands: "Commands") -> None:
    add(commands, "verify", "Check the objectives against theory.", _verify, "", "the findings")


def _verify(arguments: argparse.Namespace) -> object:
    from training.verification import VerificationError, report, verify

    findings = verify()
    for line in () if arguments.json else report.table(findings):
        word = line[:4]
        colour = {"pass": "green", "FAIL": "red"}.get(word)
        say(coloured(word, colour) + line[4:] if colour else line)
    result = report.document(findings)
    broken = report.failure(findings)
    if broken is not None:
        raise VerificationError(broken, result)
    return result


def _register_theory(commands: "Commands") -> None:
    parser = add(
        commands, "theory", "Draw the figures of docs/theory.md.", _theory, "--out figures", "each figure's numbers"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/images/theory"),
        metavar="FOLDER",
        help="for the images and facts.json; by default docs/images/theory",
    )


def _theory(arguments: argparse.Namespace) -> object:
    from training.verification import figures

    *images, facts = figures.make(arguments.out)
    for path in () if arguments.json else (*images, facts):
        say(f"{path}")
    return json.loads(facts.read_text(encoding="utf-8"))


def _register_cache(commands: "Commands") -> None:
    parser = add(
        commands, "cache", "List the decoded images that are kept, or remove them.", _cache, "--clear", "what is left"
    )
    parser.add_argument("--clear", action="store_true", help="remove them; they are decoded again when they are needed")


def _cache(arguments: argparse.Namespace) -> object:
    from training.data.image_folder import cache

    if arguments.clear:
        cache.clear()
    found = cache.entries()
    for entry in found:
        say(f"{entry.size / 1e6:10,.1f} MB  {entry.of}")
    say(f"{cache.folder()}: {sum(entry.size for entry in found) / 1e9:,.2f} of {cache.bound() / 1e9:,.2f} GB")
    return {"folder": str(cache.folder()), "entries": [{"of": entry.of, "bytes": entry.size} for entry in found]}
