"""Errors that a person at the command line can act on.

    TrainingError          one sentence for stderr, no traceback
    ├── ConfigError        the configuration file: which key, and what it may hold
    ├── DataError          the data: which file, and what is wrong with it
    ├── CheckpointError    the run's folder: which file, and how to go on
    ├── ExportError        the package: what it would have got wrong, or where it cannot go
    ├── DivergenceError    the training itself: a loss stopped being a number
    ├── CollapseError      the training itself: the generator lost its variety, and the run was to stop then
    └── Interrupted        a signal: not a fault, but the run is not finished either

Anything else that is raised is a fault of the program and keeps its traceback.
"""

FAILED_CHECK_EXIT_CODE = 1  # the command did what it was asked to, and what it checked does not hold
USAGE_EXIT_CODE = 2  # what argparse uses for a wrong command line: "the caller must change something"
DIVERGED_EXIT_CODE = 3  # lets a script tell: the command was right, the training failed
COLLAPSED_EXIT_CODE = 4  # the losses were finite, but the generator collapsed
SIGNAL_EXIT_BASE = 128  # the shell's convention: 128 + the signal's number
INTERRUPTED_EXIT_CODE = SIGNAL_EXIT_BASE + 2  # Ctrl-C


class TrainingError(Exception):
    """An expected failure; its text is one sentence and complete.

    Attributes:
        exit_code: of the process.
        result: what `--json` prints all the same, as of a check that failed; None for nothing.
    """

    exit_code: int = USAGE_EXIT_CODE
    result: object = None


class ConfigError(TrainingError):
    """A configuration that cannot be used."""


class DataError(TrainingError):
    """Data that is missing, damaged or unsuitable."""


class CheckpointError(TrainingError):
    """A run's folder or checkpoint that cannot be read, written or continued."""


class ExportError(TrainingError):
    """A package that would not be faithful, or cannot be published."""


class DivergenceError(TrainingError):
    """A loss that became infinite or not a number.

    Args:
        reason: what did, and when.
    """

    exit_code = DIVERGED_EXIT_CODE

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"training diverged: {reason}; {advice}")
        self.reason = reason


class CollapseError(TrainingError):
    """A generator that collapsed, in a run that was asked to stop then."""

    exit_code = COLLAPSED_EXIT_CODE


class Interrupted(TrainingError):
    """A run that stopped because it was told to, after writing a checkpoint.

    Args:
        message: what to tell the person who stopped it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = SIGNAL_EXIT_BASE + signal_number
