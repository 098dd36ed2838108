"""Logs a run: a progress bar, curves, rows of numbers, events and grids of samples.

    RUN/metrics.jsonl            one row a log interval: means over it, and measurements; nothing depends on the clock
    RUN/events.jsonl             what happened to the run, as text
    RUN/tensorboard/             the same curves and grids, and the speed
    RUN/grids/000064000.png      the same latents through the averaged generator
    RUN/frames/000064000.png     the same, small, for the film

A resumed run's rows and events are those of an uninterrupted one: what was logged after the checkpoint is dropped
first.
"""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.diagnostics import film
from training.evaluation.pictures import picture
from training.files import write_atomically
from training.loop.trackers import Trackers
from training.progress import is_terminal, refresh_s
from training.state import checkpoint
from training.state.history import EVENTS_NAME, KEPT_IN_CHECKPOINTS, METRICS_NAME, Event, complete_lines, events

SAMPLES_DIGITS: Final = 12  # in file names, so that their order as text is their order in time

FIRST_LOOK_S: Final = 5.0  # the first speed is shown after this time


class RunLogger:
    """Logs a run. Use as a context manager.

    Args:
        samples_seen: where the run starts or resumes.
        batch_size: samples a step, to show a step's time.
        recorded: the events that the checkpoint has.
        trackers: where rows and grids are sent, too.
    """

    def __init__(
        self,
        run: Path,
        *,
        total_samples: int,
        samples_seen: int,
        batch_size: int,
        recorded: Sequence[Event] = (),
        trackers: Trackers | None = None,
    ) -> None:
        self._run = run
        self._trackers = trackers
        self._batch_size = batch_size
        (run / film.GRIDS).mkdir(exist_ok=True)
        self._last_means = (samples_seen, time.monotonic())
        self._open(samples_seen, recorded)
        self._refresh_s = refresh_s()
        self._bar = tqdm(
            total=total_samples,
            initial=samples_seen,
            unit="sample",
            unit_scale=True,
            dynamic_ncols=is_terminal(),
            mininterval=self._refresh_s,
            maxinterval=self._refresh_s,
            miniters=1,
        )
        self._opened_s = time.monotonic()
        self._has_shown_a_pace = False
        self._last_refresh_s = -math.inf

    def __enter__(self) -> Self:
        """Return the logger."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; what was logged stays."""
        self._bar.close()
        self._close()

    def advance(self, samples_seen: int, readings: dict[str, Tensor]) -> None:
        """Advance the progress bar.

        Args:
            samples_seen: training time.
            readings: scalars of the step; read off the device only when the bar is redrawn.
        """
        now_s = time.monotonic()
        if now_s - self._last_refresh_s >= self._refresh_s:
            self._last_refresh_s = now_s
            live = {
                name.removesuffix("/total"): f"{float(value):.3f}"
                for name, value in readings.items()
                if name.endswith("/total")
            }
            rate = self._bar.format_dict["rate"]
            cost = {"step": f"{1000 * self._batch_size / rate:.0f}ms"} if rate else {}
            self._bar.set_postfix({**live, **cost}, refresh=False)
        self._bar.update(samples_seen - self._bar.n)
        if not self._has_shown_a_pace and now_s - self._opened_s > FIRST_LOOK_S:
            self._has_shown_a_pace = True
            self._bar.refresh()  # a log file would say for half a minute that nothing has been done

    def means(self, samples_seen: int, means: dict[str, float]) -> None:
        """Write one row of the log.

        Args:
            samples_seen: training time at the end of the interval.
        """
        self._rows.write(json.dumps({"samples": samples_seen, **means}) + "\n")
        self._rows.flush()
        for name, value in means.items():
            self._board.add_scalar(name, value, samples_seen)
        before, before_s = self._last_means
        self._last_means = (samples_seen, time.monotonic())
        speed = (samples_seen - before) / (time.monotonic() - before_s)
        self._board.add_scalar("samples_per_second", speed, samples_seen)
        if self._trackers is not None:
            self._trackers.log(samples_seen, {**means, "samples_per_second": speed})

    def event(self, event: Event) -> None:
        """Log an event, and show it."""
        self._events.write(event.line())
        self._events.flush()
        self._show(event)

    def rewind(self, samples_seen: int, recorded: Sequence[Event]) -> None:
        """Drop what was logged after a checkpoint, as if the run had been resumed from it.

        Args:
            samples_seen: training time of the checkpoint.
            recorded: the events that the checkpoint has, the current rollback last.
        """
        self._close()
        self._open(samples_seen, recorded)
        self._last_means = (samples_seen, time.monotonic())
        self._bar.n = samples_seen
        self._bar.refresh()
        self._show(recorded[-1])

    def grid(
        self,
        samples_seen: int,
        samples: Tensor,
        real: NDArray[np.generic],
        *,
        whole: bool = True,
        frame: bool = False,
    ) -> None:
        """Write a picture of samples, if their kind can be drawn.

        Args:
            samples_seen: training time.
            samples: [B, ...], images in [-1, 1].
            real: [N, ...] of the data.
            whole: write it as a grid.
            frame: write it as a frame of the film.
        """
        drawn, name = picture(samples, real), f"{samples_seen:0{SAMPLES_DIGITS}d}"
        if drawn is None:
            return
        if whole:
            path = self._run / film.GRIDS / f"{name}.png"
            drawn.save(path)
            self._board.add_image("samples", np.asarray(drawn.convert("RGB")), samples_seen, dataformats="HWC")
            if self._trackers is not None:
                self._trackers.grid(samples_seen, path)
        if frame:
            film.keep(self._run, name, drawn)

    def flush(self) -> None:
        """Flush rows and events to disk, so that they survive a power failure as the following checkpoint does."""
        os.fsync(self._rows.fileno())
        os.fsync(self._events.fileno())

    def _open(self, samples_seen: int, recorded: Sequence[Event]) -> None:
        _drop_rows_after(self._run / METRICS_NAME, samples_seen)
        _drop_events_after(self._run, samples_seen, recorded)
        checkpoint.forget_best_after(self._run, samples_seen)
        self._rows = (self._run / METRICS_NAME).open("a", encoding="utf-8")
        self._events = (self._run / EVENTS_NAME).open("a", encoding="utf-8")
        self._board = SummaryWriter(self._run / "tensorboard", purge_step=samples_seen + 1)
        self._former_hook, threading.excepthook = threading.excepthook, self._on_thread_error

    def _on_thread_error(self, error: threading.ExceptHookArgs) -> None:
        """Print no traceback of TensorBoard's thread where a file cannot be written: the next call raises the error."""
        if not (isinstance(error.exc_value, OSError) and type(error.thread).__module__.startswith("tensorboard.")):
            self._former_hook(error)

    def _show(self, event: Event) -> None:
        self._board.add_text(event.event, event.text, event.samples)
        tqdm.write(f"sample {event.samples:,}: {event.text}", file=sys.stderr)

    def _close(self) -> None:
        try:
            self._board.close()
        finally:
            threading.excepthook = self._former_hook
        self._rows.close()
        self._events.close()


def _drop_rows_after(path: Path, samples_seen: int) -> None:
    if path.exists():
        kept = [line for line in complete_lines(path) if json.loads(line)["samples"] <= samples_seen]
        write_atomically(path, "".join(kept).encode())


def _drop_events_after(run: Path, samples_seen: int, recorded: Sequence[Event]) -> None:
    """Keep the events of the remaining rows, and those in the checkpoint."""
    led_to = [
        event for event in events(run) if event.samples <= samples_seen and event.event not in KEPT_IN_CHECKPOINTS
    ]
    kept = sorted([*led_to, *recorded], key=lambda event: event.samples)
    write_atomically(run / EVENTS_NAME, "".join(event.line() for event in kept).encode())
