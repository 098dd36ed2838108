"""The command `sample`: registers its arguments, and says what was drawn."""

# ruff: noqa: PLC0415 - torch takes seconds to import, and a command line should not
import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from training.command_line import add, add_checkpoint, add_data_path, complete_packages, complete_runs, completed, say

if TYPE_CHECKING:
    from training.command_line import Commands


def register(commands: "Commands") -> None:
    """Register the command."""
    parser = add(
        commands,
        "sample",
        "Draw samples of a run or a package, the same for a seed as the service draws.",
        _sample,
        "runs/digits --seeds 0-63 --out grid.png",
        "what was drawn from which seeds",
    )
    place = parser.add_argument(
        "place", type=Path, metavar="RUN|PACKAGE", help="folder of the run, finished or not, or of a package's version"
    )
    completed(place, lambda prefix, **_: complete_runs(prefix) + complete_packages(prefix))
    parser.add_argument("--seeds", default="0-63", metavar="SEEDS", help="such as 0-63 (the default) or 7,9,20-29")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE|FOLDER",
        help="images: a .png sheet, a .npy or .npz array, or a folder of pictures; vectors and items: .npy, .npz or "
        ".csv, and of vectors of one or two numbers a .png plot; without it vectors and items are printed",
    )
    told = parser.add_argument_group("what the generator is told")
    told.add_argument(
        "--label",
        "--class",
        metavar="CLASS",
        help="number or name of the class, or one for each seed, with commas; by default drawn from the seed",
    )
    told.add_argument(
        "--codes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of one of InfoGAN's codes, as digit=3; may be repeated; others are drawn from the seed",
    )
    told.add_argument("--condition", type=int, metavar="ID", help="id, as of a user, that items are drawn for")
    told.add_argument("--truncation", type=float, metavar="T", help="draw latents outside T and -T again, as BigGAN")
    parser.add_argument("--columns", type=int, metavar="N", help="of the sheet; by default as many as rows")
    add_checkpoint(parser)
    add_data_path(parser, "path of the data, if it has moved; read for names of classes and plots alone")


def _sample(arguments: argparse.Namespace) -> object:
    from training.sampling import output, sample

    request = sample.Request(
        place=arguments.place,
        seeds=arguments.seeds,
        label=arguments.label,
        codes=arguments.codes,
        condition=arguments.condition,
        truncation=arguments.truncation,
        checkpoint=arguments.checkpoint,
        data_path=arguments.data_path,
    )
    drawn = sample.draw(request, say, lambda kind: output.check(kind, arguments.out, arguments.columns))
    if arguments.out is None:
        for line in () if arguments.json else output.table(drawn).splitlines():
            say(line)
    else:
        files = output.write(drawn, arguments.out, arguments.columns)
        say(
            f"{arguments.out}: {len(drawn.seeds):,} samples of {drawn.title}"
            + (f" in {files:,} files" if files > 1 else "")
        )
    out = None if arguments.out is None else str(arguments.out)
    return {**drawn.facts, "out": out, "kind": drawn.kind, "samples": output.rows(drawn)}
