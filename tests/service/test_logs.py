"""Lines as a collector reads them: one object each, whoever writes, with the names of the request that is answered."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from service import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the process's loggers write while a test runs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_happened_how_bad_it_is_and_when(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream)
    structlog.get_logger().warning("late", after_s=1.5)
    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line.pop("timestamp")))
    assert line == {"event": "late", "level": "warning", "after_s": 1.5}


def test_libraries_write_lines_of_the_same_form(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream)
    logging.getLogger("library").warning("%d bytes", 7)
    structlog.get_logger().warning("7 bytes")
    library, own = lines(stream)
    assert library.keys() == own.keys()
    assert (library["event"], library["level"]) == (own["event"], own["level"])


def test_names_stand_on_each_line_while_they_hold(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream)
    with logs.naming({"request_id": "mine"}):
        structlog.get_logger().info("inside")
        logging.getLogger("library").info("inside")
    structlog.get_logger().info("outside")
    assert [line.get("request_id") for line in lines(stream)] == ["mine", "mine", None]


def test_what_is_less_severe_than_asked_for_is_not_written(stream: io.StringIO) -> None:
    logs.configure("json", "warning", stream)
    structlog.get_logger().info("chatter")
    logging.getLogger("library").info("chatter")
    assert stream.getvalue() == ""


def test_an_exception_brings_its_stack(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream)
    for logger in (structlog.get_logger(), logging.getLogger("library")):
        try:
            int("broken")
        except ValueError:
            logger.exception("failed")
    assert all("ValueError: invalid literal" in str(line["exception"]) for line in lines(stream))


@pytest.mark.parametrize("value", ["caf\udce9", object(), {1, 2}, float("nan"), b"\xff"])
def test_no_value_keeps_a_line_from_being_written(stream: io.StringIO, value: object) -> None:
    logs.configure("json", "info", stream)
    structlog.get_logger().info("odd", value=value)
    (line,) = lines(stream)
    assert line["event"] == "odd"


def test_a_library_whose_arguments_do_not_fit_its_message_is_named(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream)
    logging.getLogger("library").warning("%d bytes", "seven")
    assert "library" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_people_are_given_columns(stream: io.StringIO) -> None:
    logs.configure("console", "info", stream)
    structlog.get_logger().info("listening", port=8000)
    logging.getLogger("library").info("so are libraries")
    assert "listening" in stream.getvalue()
    assert "port=8000" in stream.getvalue()
    assert "so are libraries" in stream.getvalue()


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file on which nothing can be written."""
    with Path("/dev/full").open("w") as file:
        yield file


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_line_is_worth_an_error_and_what_is_dropped_is_counted(stream: io.StringIO, full: TextIO) -> None:
    logs.configure("json", "info", full)
    counted: list[float] = []
    structlog.get_logger().warning("before anybody counts")
    logs.count_dropped(counted.append)
    structlog.get_logger().error("own")
    logging.getLogger("library").warning("a library's")
    assert counted == [1, 1, 1]


def test_after_a_torn_line_the_next_begins_anew(stream: io.StringIO) -> None:
    """A pipe whose reader takes nothing is full in the middle of a line, and takes lines again when it was emptied."""
    read, written = os.pipe()
    os.set_blocking(written, False)
    with os.fdopen(written, "w") as pipe, os.fdopen(read, "rb") as reader:
        logs.configure("json", "info", pipe)
        counted: list[float] = []
        logs.count_dropped(counted.append)
        while sum(counted) < 2:
            structlog.get_logger().warning("x" * 9_973)  # more than a pipe takes whole or not at all
        os.set_blocking(read, False)
        taken = reader.read()
        structlog.get_logger().warning("afterwards")
        *_, torn, last = (taken + reader.read()).decode().splitlines()
    assert json.loads(last)["event"] == "afterwards"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(torn)


def test_a_closed_output_is_none(stream: io.StringIO) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", None)
        logs.configure("console", "info")
    structlog.get_logger().warning("to nobody")
