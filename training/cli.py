"""The command line, and its commands that train and publish: each registers its own arguments.

A command imports what it needs only when it runs, so that `--help` answers at once, and returns what `--json` prints.
What goes wrong in an expected way is one sentence on stderr; the exit codes are those of `training.errors`.
"""

# ruff: noqa: PLC0415 - torch takes seconds to import, and a command line should not
import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import training
from training import command_line, measuring
from training.command_line import (
    Parser,
    add,
    add_checkpoint,
    add_data_path,
    add_run,
    complete_packages,
    complete_runs,
    completed,
    note,
    program,
    say,
)
from training.errors import TrainingError
from training.sampling import command as sampling

if TYPE_CHECKING:
    from training.command_line import Commands
    from training.data import ImageData

NAME: Final = "python -m training"
DESCRIPTION: Final = "Train generative adversarial networks and turn them into packages that the service serves."
EXAMPLES: Final = (
    ("train r3gan-digits --out runs/digits", "a minute on any machine, nothing to download"),
    ("data mnist", "fetch MNIST once"),
    ("data shapes --out pictures", "draw a folder of colour images, nothing to download"),
    ("train r3gan-mnist --out runs/mnist", "handwritten digits"),
    ("train --data-path pictures --out runs/p", "your own images, a folder of them"),
    ("train r3gan-digits --set trainer.batch_size=128 --seed 1 --out runs/b", "with other values"),
    ("resume runs/mnist", "continue after Ctrl-C, a crash or a reboot"),
    ("sample runs/mnist --out grid.png", "look at samples, the same for a seed as the service draws"),
    ("export runs/mnist --name mnist", "make a package that the service serves"),
    ("adopt generator.onnx --name mine", "make a package of a graph that was made elsewhere"),
    ("diagnose runs/mnist", "its problems, and what to try"),
    ("report runs/", "compare all runs of a folder on one page"),
    ("verify", "check the objectives against theory"),
    ("keys trainer", "the keys of [trainer], with defaults"),
)

SHAPES_DRAWN: Final = 3_000  # to train on, unless asked otherwise: a folder that is written in a second
SHAPES_PER_HELD_OUT: Final = 5  # of these


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None takes the process's own.

    Returns:
        The process's exit code.
    """
    return command_line.main(parser(), arguments)


def parser() -> Parser:
    """Make the parser of every command."""
    made = program(NAME, training.__version__, DESCRIPTION, EXAMPLES)
    register(made.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser))
    return made


def register(commands: "Commands") -> None:
    """Register every command."""
    for command in (_register_train, _register_resume, _register_export, _register_adopt, _register_calibrate):
        command(commands)
    sampling.register(commands)
    measuring.register(commands)
    for command in (_register_data, _register_keys):
        command(commands)


def _register_train(commands: "Commands") -> None:
    parser = add(
        commands,
        "train",
        "Train a new run.",
        _train,
        "r3gan-digits --out runs/digits",
        "the run, its report and findings",
    )
    config = parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a TOML file, or the stem of a shipped one such as r3gan-mnist; if omitted, one is chosen for the images "
        "of --data-path",
    )
    completed(config, _complete_configs)
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder for the run; it must not hold one yet")
    add_data_path(parser, "path of the data, instead of [data] path")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        help="value of a key instead of CONFIG's, as trainer.batch_size=128; may be repeated",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of all randomness, as --set seed=N")
    init = parser.add_argument(
        "--init",
        type=Path,
        metavar="RUN|PACKAGE",
        help="folder of a run, or of a package's version: begin with its weights, where they fit",
    )
    completed(init, lambda prefix, **_: complete_runs(prefix) + complete_packages(prefix))
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the whole configuration, and on stderr what would be trained and how fast; write nothing",
    )


def _train(arguments: argparse.Namespace) -> object:
    from training import keys

    if arguments.config is None and arguments.data_path is None:
        raise TrainingError("train needs a CONFIG such as r3gan-digits, or a folder of images: --data-path FOLDER")
    settings = [*arguments.set, *([] if arguments.seed is None else [f"seed={arguments.seed}"])]
    path = None if arguments.config is None else keys.find(arguments.config)
    if path is not None:
        tables, changed = keys.assign(keys.check_file(path), settings)  # answers before torch is imported

    from training import config as configuration
    from training.loop import run
    from training.state import history

    if path is None:
        tables, changed = keys.assign(configuration.for_folder(arguments.data_path), settings)
    config = configuration.from_tables(tables, "" if path is None else f"{path}: ")
    if path is not None and arguments.data_path is not None:
        config = configuration.with_data_path(config, arguments.data_path)
    changes = history.of_settings(changed)
    if arguments.dry_run:
        return run.dry_run(config, say, note, changes, arguments.init)
    if arguments.out is None:
        raise TrainingError("train needs --out RUN, the folder for the run (or --dry-run, to only look)")
    return run.start(config, arguments.out, say, changes, arguments.init)


def _complete_configs(prefix: str, **_: object) -> list[str]:
    from training import keys

    return [file.stem for file in keys.SHIPPED.glob("*.toml")] + [str(path) for path in Path().glob(f"{prefix}*.toml")]


def _register_resume(commands: "Commands") -> None:
    parser = add(
        commands,
        "resume",
        "Resume a run from its newest checkpoint.",
        _resume,
        "runs/digits",
        "the run, its report and findings",
    )
    add_run(parser, "folder of the run")
    add_data_path(parser)
    parser.add_argument(
        "--total-samples",
        type=int,
        metavar="N",
        help="another length of the run; schedules are then those of N samples",
    )
    parser.add_argument("--data-changed", action="store_true", help="go on although the data is no longer the same")


def _resume(arguments: argparse.Namespace) -> object:
    from training.loop import run

    return run.resume(
        arguments.run,
        say,
        arguments.data_path,
        total_samples=arguments.total_samples,
        data_changed=arguments.data_changed,
    )


def _register_export(commands: "Commands") -> None:
    parser = add(
        commands,
        "export",
        "Make a package of a run, measured and ready to serve.",
        _export,
        "runs/digits --name digits --license CC0-1.0",
        "the package's folder, name and version",
    )
    add_run(parser, "folder of the run")
    parser.add_argument("--name", help="of the package; by default the configuration's")
    parser.add_argument("--version", type=int, metavar="N", help="of the package; by default the next free one")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="FOLDER", help="where packages are; by default models"
    )
    parser.add_argument("--license", metavar="TEXT", help="of the weights: an SPDX identifier or a sentence")
    add_checkpoint(parser)
    add_data_path(parser)


def _export(arguments: argparse.Namespace) -> object:
    from training.export.export import export_run

    package = export_run(
        arguments.run,
        arguments.models,
        arguments.name,
        arguments.version,
        say,
        data_path=arguments.data_path,
        license_text=arguments.license,
        choice=arguments.checkpoint,
    )
    return _of_package(package)


def _of_package(folder: Path) -> dict[str, object]:
    return {"package": str(folder), "name": folder.parent.name, "version": int(folder.name)}


def _register_adopt(commands: "Commands") -> None:
    parser = add(
        commands,
        "adopt",
        "Make a package of ONNX graphs that were made elsewhere.",
        _adopt,
        "generator.onnx --name mine --models models",
        "what was decided, and the package's folder",
    )
    parser.add_argument("generator", type=Path, metavar="GENERATOR", help="ONNX file, from latents to samples")
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="network before it, as StyleGAN's g_mapping.onnx")
    parser.add_argument("--discriminator", type=Path, metavar="FILE", help="from samples to logits or probabilities")
    parser.add_argument("--encoder", type=Path, metavar="FILE", help="from samples to latents")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="real images, to calibrate the discriminator with")
    parser.add_argument("--name", required=True, help="of the package")
    parser.add_argument("--version", type=int, metavar="N", help="of the package; by default the next free one")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="FOLDER", help="where packages are; by default models"
    )
    parser.add_argument("--license", metavar="TEXT", help="of the weights: an SPDX identifier or a sentence")
    parser.add_argument("--dry-run", action="store_true", help="say what would be decided; write nothing")
    told = parser.add_argument_group("what the graphs do not say")
    told.add_argument("--latent", metavar="NAME", help="the generator's input that is the latent")
    told.add_argument("--latent-size", type=int, metavar="Z", help="numbers of a latent, if the graph leaves it open")
    told.add_argument("--prior", choices=("normal", "uniform"), help="of the latents; by default normal")
    told.add_argument("--output", metavar="NAME", help="the generator's output that is the sample")
    told.add_argument("--shape", metavar="C,H,W|D", help="of a sample, if the output is flat")
    told.add_argument("--layout", choices=("NCHW", "NHWC"), help="of images in the graphs")
    told.add_argument(
        "--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="of values of the generator's images, as -1 1"
    )
    told.add_argument(
        "--critic-range", nargs=2, type=float, metavar=("LOW", "HIGH"), help="of images of discriminator and encoder"
    )
    told.add_argument("--labels", metavar="FILE|a,b,c|K", help="names of the classes, a line each, or their number")
    told.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of another input, as psi=0.7; =normal draws it once; may be repeated",
    )
    told.add_argument("--freeze-noise", action="store_true", help="make random operators constant")
    told.add_argument("--critic-output", choices=("logit", "probability"), help="what the discriminator gives")
    told.add_argument("--loss", metavar="FAMILY", help="that the discriminator was trained with, as non_saturating")


def _adopt(arguments: argparse.Namespace) -> object:
    from training.adopt import adopt, as_plain, read_options, read_sources

    return as_plain(adopt(read_sources(arguments), read_options(arguments), say))


def _register_calibrate(commands: "Commands") -> None:
    parser = add(
        commands,
        "calibrate",
        "Publish a package of classes again, with scores without a label.",
        _calibrate,
        "models/mnist/4",
        "the new package's folder, name and version",
    )
    package = parser.add_argument(
        "package", type=Path, metavar="PACKAGE", help="folder of the version, as in models/mnist/4"
    )
    completed(package, complete_packages)
    config = parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="whose [data] has the held-out samples; by default the package's own configuration",
    )
    completed(config, _complete_configs)
    add_data_path(parser)


def _calibrate(arguments: argparse.Namespace) -> object:
    from training.export.recalibration import calibrate_package

    return _of_package(
        calibrate_package(arguments.package, say, config_name=arguments.config, data_path=arguments.data_path)
    )


def _register_data(commands: "Commands") -> None:
    parser = add(
        commands,
        "data",
        "Fetch or draw a data set, check it, and write it as a folder of images if asked.",
        _data,
        "shapes --out pictures --size 64",
        "its name, sizes and hash",
    )
    parser.add_argument(
        "name",
        choices=("mnist", "digits", "shapes"),
        metavar="NAME",
        help="mnist, which is fetched once; digits, which are bundled; or shapes, which are drawn in colour",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the images there, as train/CLASS/N.png and test/CLASS/N.png"
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help="height and width of shapes; by default 32")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="shapes to train on, and a fifth as many held out; by default 3,000"
    )


def _data(arguments: argparse.Namespace) -> object:
    from training.data.image_folder import writing

    images = _images(arguments)
    say(f"{images.name}: {len(images.train):,} images to train on, {len(images.held_out):,} held out")
    if arguments.out is not None:
        writing.write(images, arguments.out)
        say(f"written: {arguments.out}")
    return {
        "name": images.name,
        "train": len(images.train),
        "held_out": len(images.held_out),
        "sample_shape": images.sample_shape,
        "sha256": images.sha256,
    }


def _images(arguments: argparse.Namespace) -> "ImageData":
    from training.data import digits, mnist, shapes
    from training.tables import bind

    if arguments.name == "shapes":
        samples = SHAPES_DRAWN if arguments.samples is None else arguments.samples
        held_out = max(shapes.MODES, samples // SHAPES_PER_HELD_OUT)
        size = {} if arguments.size is None else {"image_size": arguments.size}
        return shapes.load(
            bind({"train_samples": samples, "held_out_samples": held_out, **size}, shapes.ShapesConfig, "data shapes:")
        )
    if arguments.size is not None or arguments.samples is not None:
        raise TrainingError(f"data {arguments.name} has one size; leave out --size and --samples")
    if arguments.name == "mnist":
        return mnist.load(mnist.MnistConfig(path=str(mnist.download())))
    return digits.load(digits.DigitsConfig())


def _register_keys(commands: "Commands") -> None:
    parser = add(
        commands, "keys", "List every key that a configuration may have.", _keys, "trainer", "the JSON Schema of them"
    )
    table = parser.add_argument(
        "table", nargs="?", metavar="TABLE", help="of one table alone, such as trainer or objective"
    )
    completed(table, _complete_tables)


def _keys(arguments: argparse.Namespace) -> object:
    from training import keys

    lines = list(keys.reference(arguments.table))
    for line in () if arguments.json else lines:
        say(line)
    return keys.shipped() if arguments.table is None else keys.shipped()["properties"][arguments.table]


def _complete_tables(**_: object) -> list[str]:
    from training import keys

    return list(keys.shipped()["properties"])
