"""`python -m service`: read the settings, and run the service in this process or in several.

Exit codes: 0 after SIGTERM or SIGINT, 1 where a configured model cannot be loaded or the device is lost, 2 for a
setting that is not valid.
"""

import argparse
import difflib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping

import structlog
from pydantic import ValidationError

from service import logs
from service.settings import PREFIX, Settings, reference

BAD_SETTING = 2  # argparse's own code for a mistake on the command line
HELP_WIDTH = 100

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def main() -> int:
    """Run the service until it is told to end.

    Returns:
        The process's exit code.
    """
    if _parser().parse_args().command == "settings":
        sys.stdout.writelines(f"{line}\n" for line in reference())
        return 0
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.writelines(f"{sentence}\n" for sentence in _bad_settings(error))
        return BAD_SETTING
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the packages of a models folder: POST /generate, POST /score. Settings are environment "
        "variables:",
        epilog="\n".join(_described_settings()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["serve", "settings"],
        default="serve",
        help="serve (the default), or print the settings as a Markdown page",
    )
    return parser


def _described_settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        yield f"  {PREFIX}{name.upper()} (default: {default if default != '' else 'empty'})"
        yield textwrap.fill(field.description or "", HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


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
