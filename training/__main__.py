"""`python -m training`: separate from `training.cli`, so that importing that module changes no streams."""
# PYTHON_ARGCOMPLETE_OK: a shell's completion looks for this word.

from training.cli import main
from training.command_line import run

run(main)
