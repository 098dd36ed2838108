"""Pictures of samples, for a run's grids and a package's card.

    images                    a sheet of rows of eight; of a conditional generator, each row is one class
    vectors of two numbers    a scatter plot, over that of real ones
    single numbers            their histogram, over that of real ones
    anything else             no picture

Plots keep the frame of the real samples, so that those of one run are comparable; samples outside are not shown.

Shapes: B samples, C H W channels, height and width, N real samples.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import pad

from training.data.pixels import to_bytes

Values = NDArray[np.floating]
Colour = tuple[int, int, int]

IMAGE_AXES: Final = 3
SHEET_COLUMNS: Final = 8
SHEET_ROWS: Final = 8  # fits a screen
CLASS_ROWS: Final = 16  # most classes shown
DOT_SAMPLES: Final = 2_000  # enough to show modes and samples between them
SHEET_ZOOM: Final = 2  # small images are enlarged
GAP_SHADE: Final = 96  # of the line between samples
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
SIDE: Final = 400  # pixels: a hundredth of the frame, a usual mode's width, is four
MARGIN: Final = 0.1  # of the real samples' range, on either side
BARS: Final = 100
WHITE: Final[Colour] = (255, 255, 255)
REAL_COLOUR: Final[Colour] = (200, 200, 200)
GENERATED_COLOUR: Final[Colour] = (30, 80, 160)


def samples_wanted(sample_shape: tuple[int, ...], classes: int = 0) -> int:
    """Number of samples that a picture shows.

    Args:
        classes: of a conditional generator; else 0.

    Returns:
        Whole rows of a sheet for images.
    """
    if len(sample_shape) != IMAGE_AXES:
        return DOT_SAMPLES
    return SHEET_COLUMNS * (min(classes, CLASS_ROWS) if classes else SHEET_ROWS)


def classes_shown(sample_shape: tuple[int, ...], classes: int) -> NDArray[np.int64]:
    """Choose the class of each sample of a picture.

    Args:
        classes: of the generator, at least 1.

    Returns:
        [B]: of images one class a row, the first classes where there are more than rows; else each class in turn.
    """
    places = np.arange(samples_wanted(sample_shape, classes))
    return places // SHEET_COLUMNS if len(sample_shape) == IMAGE_AXES else places % classes


def picture(samples: Tensor, real: NDArray[np.generic]) -> Image.Image | None:
    """Draw samples by their kind.

    Args:
        samples: [B, ...], images in [-1, 1].
        real: [N, ...] of the data, for the frame and the background of numbers.

    Returns:
        One picture, or None for vectors of more than two numbers and for items.
    """
    if samples.ndim == 1 + IMAGE_AXES:
        sheet = contact_sheet(samples)
        return sheet.resize((sheet.width * SHEET_ZOOM, sheet.height * SHEET_ZOOM), Image.Resampling.NEAREST)
    if samples.shape[1:] == (2,):
        return _dots(samples.double().numpy(), real.astype(np.float64))
    if samples.shape[1:] == (1,):
        return _bars(samples.double().numpy(), real.astype(np.float64))
    return None


def contact_sheet(samples: Tensor) -> Image.Image:
    """Arrange images in rows.

    Args:
        samples: [B, C, H, W] floats in [-1, 1] with 1, 3 or 4 channels, B a multiple of the columns or less than them.

    Returns:
        One image, a line of one pixel after each sample.
    """
    count, channels, height, width = samples.shape
    columns = min(count, SHEET_COLUMNS)
    rows = count // columns
    framed = pad(to_bytes(samples), (0, 1, 0, 1), value=GAP_SHADE)
    laid_out = framed.reshape(rows, columns, channels, height + 1, width + 1).permute(0, 3, 1, 4, 2)
    sheet = laid_out.reshape(rows * (height + 1), columns * (width + 1), channels)
    return Image.fromarray(sheet.squeeze(2).numpy() if channels == 1 else sheet.numpy(), MODES[channels])


def _dots(samples: Values, real: Values) -> Image.Image:
    """A scatter plot of samples over as many real ones; the second number points upwards."""
    low, high = _frame(real)
    canvas = np.full((SIDE, SIDE, 3), WHITE, np.uint8)
    for points, colour in ((real[:: max(1, len(real) // len(samples))], REAL_COLOUR), (samples, GENERATED_COLOUR)):
        places = np.floor(SIDE * (points - low) / (high - low)).astype(np.int64)
        across, up = places[((places >= 0) & (places < SIDE)).all(axis=1)].T
        canvas[SIDE - 1 - up, across] = colour
    return Image.fromarray(canvas)


def _bars(samples: Values, real: Values) -> Image.Image:
    """The real histogram filled, the generated one a line; both of area 1, the higher one fills the picture."""
    low, high = _frame(real)
    edges = np.linspace(low[0], high[0], BARS + 1)
    densities = [np.histogram(values, edges)[0] / len(values) for values in (real, samples)]
    highest = max(density.max() for density in densities)
    heights = [np.rint((SIDE - 1) * (1 - density / highest)) for density in densities]
    canvas = Image.new("RGB", (SIDE, SIDE), WHITE)
    pen, width = ImageDraw.Draw(canvas), SIDE // BARS
    for bar, top in enumerate(heights[0]):
        pen.rectangle((bar * width, top, (bar + 1) * width - 1, SIDE), fill=REAL_COLOUR)
    corners = [(x, float(top)) for bar, top in enumerate(heights[1]) for x in (bar * width, (bar + 1) * width - 1)]
    pen.line(corners, fill=GENERATED_COLOUR, width=2)
    return canvas


def _frame(real: Values) -> tuple[Values, Values]:
    """Lowest and highest point shown, [D] each, equally wide in every direction."""
    low, high = real.min(axis=0), real.max(axis=0)
    reach = (high - low).max() * (1 / 2 + MARGIN)
    centre = (low + high) / 2
    return centre - reach, centre + reach
