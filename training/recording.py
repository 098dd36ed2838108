"""What a person sees of a run while it goes: a progress bar, curves, rows of numbers and grids of samples.

    RUN/metrics.jsonl            one row a log interval: means over it, nothing that depends on the clock
    RUN/tensorboard/             the same curves, and the speed
    RUN/grids/000064000.png      the same latents through the averaged generator

A resumed run's rows are those of an uninterrupted one: what was recorded after the checkpoint is dropped first. The
recorder knows numbers and images by name; what they mean is the trainer's business.
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.data.pixels import to_bytes
from training.files import write_atomically

METRICS_NAME: Final = "metrics.jsonl"
SAMPLES_DIGITS: Final = 12  # in file names, so that their order as text is their order in time
TERMINAL_REFRESH_S: Final = 0.5
LOG_FILE_REFRESH_S: Final = 30.0  # where the bar is not redrawn but written again and again
GRID_ZOOM: Final = 2  # digits of 28 pixels are small on today's screens
GAP_SHADE: Final = 96  # of the line between samples: neither the black nor the white of most images
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}


class Recorder:
    """Writes down a run. Use as a context manager.

    Args:
        run: the run's folder.
        total_samples: length of the run.
        samples_seen: where the run begins or goes on.
        batch_size: samples a step, to show what one costs.
    """

    def __init__(self, run: Path, *, total_samples: int, samples_seen: int, batch_size: int) -> None:
        self._run = run
        self._batch_size = batch_size
        (run / "grids").mkdir(exist_ok=True)
        _drop_rows_after(run / METRICS_NAME, samples_seen)
        self._rows = (run / METRICS_NAME).open("a", encoding="utf-8")
        self._board = SummaryWriter(run / "tensorboard", purge_step=samples_seen + 1)
        interactive = sys.stderr.isatty()
        self._bar = tqdm(
            total=total_samples,
            initial=samples_seen,
            unit="sample",
            unit_scale=True,
            dynamic_ncols=interactive,
            mininterval=TERMINAL_REFRESH_S if interactive else LOG_FILE_REFRESH_S,
        )
        self._refresh_s = TERMINAL_REFRESH_S if interactive else LOG_FILE_REFRESH_S
        self._last_refresh_s = -math.inf
        self._last_means = (samples_seen, time.monotonic())

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; whatever was recorded stays."""
        self._bar.close()
        self._board.close()
        self._rows.close()

    def advance(self, samples_seen: int, readings: dict[str, Tensor]) -> None:
        """Move the bar on.

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

    def means(self, samples_seen: int, means: dict[str, float]) -> None:
        """Write one row of the log.

        Args:
            samples_seen: training time at the end of the interval.
            means: by name.
        """
        self._rows.write(json.dumps({"samples": samples_seen, **means}) + "\n")
        self._rows.flush()
        for name, value in means.items():
            self._board.add_scalar(name, value, samples_seen)
        before, before_s = self._last_means
        self._last_means = (samples_seen, time.monotonic())
        self._board.add_scalar(
            "samples_per_second", (samples_seen - before) / (time.monotonic() - before_s), samples_seen
        )

    def grid(self, samples_seen: int, samples: Tensor) -> None:
        """Write a sheet of samples.

        Args:
            samples_seen: training time.
            samples: [B, C, H, W] floats in [-1, 1], B a square number.
        """
        sheet = contact_sheet(samples)
        path = self._run / "grids" / f"{samples_seen:0{SAMPLES_DIGITS}d}.png"
        sheet.resize((sheet.width * GRID_ZOOM, sheet.height * GRID_ZOOM), Image.Resampling.NEAREST).save(path)

    def flush(self) -> None:
        """Make sure that the rows so far outlive a power failure, as the checkpoint that follows will."""
        os.fsync(self._rows.fileno())


def contact_sheet(samples: Tensor) -> Image.Image:
    """Lay samples out in a square, row by row.

    Args:
        samples: [B, C, H, W] floats in [-1, 1] with 1, 3 or 4 channels, B a square number.

    Returns:
        One image, a line of one pixel after each sample.
    """
    count, channels, height, width = samples.shape
    side = math.isqrt(count)
    framed = pad(to_bytes(samples), (0, 1, 0, 1), value=GAP_SHADE)
    rows = framed.reshape(side, side, channels, height + 1, width + 1)
    sheet = rows.permute(0, 3, 1, 4, 2).reshape(side * (height + 1), side * (width + 1), channels)
    return Image.fromarray(sheet.squeeze(2).numpy() if channels == 1 else sheet.numpy(), MODES[channels])


def _drop_rows_after(path: Path, samples_seen: int) -> None:
    if path.exists():
        rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
        complete = [row for row in rows if row.endswith("\n") and json.loads(row)["samples"] <= samples_seen]
        write_atomically(path, "".join(complete).encode())
