"""`ganymede COMMAND`: every command of `python -m training` and of `python -m service`, under one name."""
# PYTHON_ARGCOMPLETE_OK: a shell's completion looks for this word.

import argparse
import sys
from typing import Final, NoReturn

from ganymede import __version__
from service import __main__ as service
from training import cli, command_line
from training.command_line import Parser

DESCRIPTION: Final = "Train generative adversarial networks, and serve them."
EXAMPLES: Final = (
    ("serve", "the packages in models/, on port 8000"),
    ("train r3gan-digits --out runs/digits", "a minute on any machine, nothing to download"),
    ("export runs/digits --name digits", "make a package that the service serves"),
    ("adopt generator.onnx --name mine", "make a package of a graph that was made elsewhere"),
    ("check models/digits/1", "whether this machine would serve it"),
)


def parser() -> Parser:
    """Make the parser of every command of both programs."""
    made = command_line.program("ganymede", __version__, DESCRIPTION, EXAMPLES)
    commands = made.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    cli.register(commands)
    of_training = set(commands.choices)
    service.register(commands)
    for name in commands.choices.keys() - of_training:
        commands.choices[name].set_defaults(command=_of_service, json=False)
    return made


def main() -> NoReturn:
    """Run one command, and end the process."""
    command_line.run(lambda: command_line.main(parser()))


def _of_service(asked: argparse.Namespace) -> NoReturn:
    sys.exit(asked.run(asked))


if __name__ == "__main__":
    main()
