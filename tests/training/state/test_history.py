"""History: what is read back is what was written, as far as it was written."""

from pathlib import Path

from training.state.history import EVENTS_NAME, METRICS_NAME, Event, events, rows


def test_rows_and_events_are_read_in_order_and_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / METRICS_NAME).write_text('{"samples": 10, "loss": 1.5}\n{"samples": 20, "lo')
    known = [Event(10, "collapse", "one point"), Event(20, "recovery", "many")]
    (tmp_path / EVENTS_NAME).write_text("".join(event.line() for event in known))
    assert rows(tmp_path) == [{"samples": 10, "loss": 1.5}]
    assert events(tmp_path) == known


def test_a_folder_without_files_remembers_nothing(tmp_path: Path) -> None:
    assert (rows(tmp_path), events(tmp_path)) == ([], [])
