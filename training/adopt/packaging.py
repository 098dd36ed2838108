"""Makes a package's files of adopted graphs: golden vectors, preview, card, provenance, manifest.

Shapes: N samples, C H W channels, height and width.
"""

import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from training.adopt.decisions import Decision
from training.adopt.generators import AdoptedGenerator
from training.adopt.graph_files import GraphFile
from training.evaluation.pictures import SHEET_COLUMNS, classes_shown, picture, samples_wanted
from training.export import golden
from training.export.card import CHANNEL_WORDS
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, SAMPLE, Interface
from training.export.graphs.runtime import Arrays, Graph, rows_of
from training.export.provenance import commit
from training.progress import progress

Entry = dict[str, object]

MOST_AT_ONCE: Final = 32  # samples in one run
ELEMENTS_AT_ONCE: Final = 1 << 21  # of samples in one run, so that the maps of large images fit into memory
GOLDEN_BYTES: Final = 1 << 26  # of golden samples and pixels; large images have fewer vectors
FEWEST_GOLDEN: Final = 2
SAMPLE_BYTES: Final = 5  # of one number: float32, and a byte of the pixels
LARGEST_CELL: Final = 128  # pixels a side in the preview; larger images are shrunk
LARGEST_SHOWN: Final = 2_048  # pixels a side of which whole sheets are drawn; of larger ones, one row
NO_DATA: Final = "not stated"
NO_OBJECTIVE: Final = "not stated"


def run(graph: Graph, inputs: Arrays, face: Interface, *, one_by_one: bool, what: str) -> Arrays:
    """Compute all outputs of many rows, as many at once as memory allows.

    Args:
        inputs: [N, ...] by name.
        what: the work, for the progress bar.

    Returns:
        [N, ...] by name.
    """
    count = len(next(iter(inputs.values())))
    at_once = 1 if one_by_one else max(1, min(MOST_AT_ONCE, ELEMENTS_AT_ONCE // math.prod(face.sample_shape)))
    starts = range(0, count, at_once)
    parts = [graph.run(rows_of(inputs, slice(at, at + at_once))) for at in progress(starts, what, len(starts), "batch")]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def golden_count(face: Interface) -> int:
    """How many golden vectors: 16, or fewer of large images."""
    return max(FEWEST_GOLDEN, min(golden.COUNT, GOLDEN_BYTES // (SAMPLE_BYTES * math.prod(face.sample_shape))))


def preview(generator: AdoptedGenerator, graph: Graph) -> bytes | None:
    """Draw samples; None for those without a picture."""
    face = generator.face
    classes = len(face.labels)
    count = samples_wanted(face.sample_shape, classes)
    if face.kind == "image" and max(face.sample_shape[1:]) > LARGEST_SHOWN // SHEET_COLUMNS:
        count = SHEET_COLUMNS
    inputs = draw(Purpose.PREVIEW, count, face)
    if classes:
        inputs[LABEL] = classes_shown(face.sample_shape, classes)[:count]
    samples = run(graph, inputs, face, one_by_one=generator.graph.one_by_one, what="preview")[SAMPLE].astype(np.float32)
    if face.kind == "image":
        low, high = face.value_range
        samples = _shrunk(2 * (samples - low) / (high - low) - 1)
    drawn = picture(torch.from_numpy(samples), samples)
    return None if drawn is None else _png(drawn)


def provenance(files: Mapping[str, GraphFile], generator: AdoptedGenerator, decisions: Sequence[Decision]) -> Entry:
    """Describe where a package comes from: the files, and what was decided of them."""
    config: Entry = {"adopted": {f"{number:02} {each.subject}": each.value for number, each in enumerate(decisions)}}
    return {
        "objective": NO_OBJECTIVE,
        "config": config,
        "config_sha256": hashlib.sha256(json.dumps(config).encode()).hexdigest(),
        "data": {"name": NO_DATA, "sha256": hashlib.sha256().hexdigest()},
        "commit": commit(),
        "samples_seen": 0,
        "metrics": {"parity": {"sample": generator.graph.gap}},
        "imported_from": {role: _origin(file) for role, file in files.items()},
        "libraries": {
            "python": platform.python_version(),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def summary(face: Interface) -> str:
    """Describe a package in one sentence."""
    if face.kind == "image":
        channels, height, width = face.sample_shape
        drawn = f"{CHANNEL_WORDS[channels]} images of {width}x{height} pixels"
    else:
        drawn = f"vectors of {face.sample_shape[0]} numbers"
    return f"A generator that was made elsewhere and draws {drawn}{', of the class asked for' if face.labels else ''}."


def card(
    title: str,
    face: Interface,
    decisions: Sequence[Decision],
    files: Mapping[str, GraphFile],
    missing: Sequence[str],
    license_text: str | None,
    *,
    drawn: bool,
) -> str:
    """Format the card.

    Args:
        missing: what the package cannot do, as sentences.
        drawn: whether the package has a preview.

    Returns:
        Markdown.
    """
    sections = {
        title: [summary(face), *(["", "![samples, none chosen](preview.png)"] if drawn else [])],
        "Origin": [
            *(f"- {role}: `{file.name}`, SHA-256 `{file.sha256}`" for role, file in files.items()),
            *([f"- License of these weights: {license_text}"] if license_text else []),
        ],
        "Decisions": [f"- {each}" for each in decisions],
        "Limits": [
            "- It draws what its data shows, with the data's bias, and nothing else; the data is not known here.",
            "- Training and quality are not known here, and were not measured.",
            *(f"- {sentence}" for sentence in missing),
        ],
    }
    parts = [
        f"{'#' if level == 0 else '##'} {heading}\n\n" + "\n".join(lines)
        for level, (heading, lines) in enumerate(sections.items())
    ]
    return "\n\n".join(parts) + "\n"


def now() -> datetime:
    """The time of the adoption."""
    return datetime.now(UTC)


def _origin(file: GraphFile) -> Entry:
    """What a file says of itself."""
    model = onnx.load_model_from_string(file.content)
    producer = f"{model.producer_name} {model.producer_version}".strip()
    opsets = {each.domain or "ai.onnx": each.version for each in model.opset_import}
    return {
        "file": file.name,
        "sha256": file.sha256,
        "opset": opsets.get("ai.onnx", 0),
        "ir_version": model.ir_version,
        "producer": producer or NO_DATA,
    }


def _shrunk(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images [N, C, H, W], none of whose sides is larger than the preview's."""
    values = torch.from_numpy(images)
    scale = LARGEST_CELL / max(values.shape[2:])
    if scale >= 1:
        return images
    size = [max(1, round(side * scale)) for side in values.shape[2:]]
    shrunk: NDArray[np.float32] = torch.nn.functional.interpolate(values, size=size, mode="area").numpy()
    return shrunk


def _png(drawn: Image.Image) -> bytes:
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return content.getvalue()
