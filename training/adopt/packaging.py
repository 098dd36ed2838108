"""Makes a package's files of adopted graphs: golden vectors, preview, card, provenance, manifest.

Shapes: N samples, C H W channels, height and width.
"""

import dataclasses
import hashlib
import importlib.util
import io
import json
import math
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from training.adopt.critics import Critic, as_shown
from training.adopt.decisions import Adoption
from training.adopt.generators import AdoptedGenerator
from training.adopt.graph_files import GraphFile
from training.errors import ExportError
from training.evaluation.pictures import SHEET_COLUMNS, classes_shown, picture, samples_wanted
from training.export import golden
from training.export.card import CHANNEL_WORDS
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, PIXELS, SAMPLE, Interface
from training.export.graphs.parity import Parity
from training.export.graphs.runtime import Arrays, Graph, rows_of
from training.export.provenance import commit
from training.export.publish import publish
from training.progress import progress

Entry = dict[str, object]

MOST_AT_ONCE: Final = 32  # samples in one run
ELEMENTS_AT_ONCE: Final = 1 << 21  # of samples in one run, so that the maps of large images fit into memory
GOLDEN_BYTES: Final = 1 << 24  # of golden samples and pixels; large images have fewer vectors
FEWEST_GOLDEN: Final = 2
SAMPLE_BYTES: Final = 5  # of one number: float32, and a byte of the pixels
LARGEST_CELL: Final = 128  # pixels a side in the preview; larger images are shrunk
LARGEST_SHOWN: Final = 2_048  # pixels a side of which whole sheets are drawn; of larger ones, one row
CHECK: Final = ("python", "-m", "service", "check")
NOT_STATED: Final = "not stated"


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


def golden_vectors(graph: Graph, generator: AdoptedGenerator, critic: Critic | None, encoder: Critic | None) -> Arrays:
    """Inputs and outputs of every graph, by `<graph>.<tensor>`; samples are judged as the service sends them."""
    face = generator.face
    inputs = draw(Purpose.GOLDEN, golden_count(face), face)
    made = run(graph, inputs, face, one_by_one=generator.graph.one_by_one, what="golden vectors")
    found = {f"generator.{tensor}": values for tensor, values in {**inputs, **made}.items()}
    samples = made[SAMPLE].astype(np.float32)
    if face.kind == "image":
        pixels = np.ascontiguousarray(made[PIXELS].transpose(0, 3, 1, 2)).astype(np.uint8)
        samples = as_shown(pixels, face.value_range)
    for name, each in (("discriminator", critic), ("encoder", encoder)):
        if each is not None:
            shown: Arrays = {SAMPLE: samples, **({LABEL: inputs[LABEL]} if each.takes_label else {})}
            loaded = Graph(each.graph.content)
            # Scores of a batch-coupled discriminator are those of the whole batch, as they are replayed.
            answers = (
                loaded.run(shown)
                if each.coupled
                else run(loaded, shown, face, one_by_one=each.graph.one_by_one, what="golden vectors")
            )
            found |= {f"{name}.{tensor}": values for tensor, values in {**shown, **answers}.items()}
    return found


def provenance(
    files: Mapping[str, GraphFile], parity: Parity, adoption: Adoption, calibrated_on: Entry | None
) -> Entry:
    """Describe where a package comes from: the files, what was decided of them, and the data it was calibrated on."""
    config: Entry = {"adopted": [f"{each.subject}: {each.value}" for each in adoption.decisions]}
    return {
        "objective": NOT_STATED,
        "config": config,
        "config_sha256": hashlib.sha256(json.dumps(config).encode()).hexdigest(),
        "data": {"name": NOT_STATED, "sha256": hashlib.sha256().hexdigest()},
        "commit": commit(),
        "samples_seen": 0,
        "metrics": {"parity": {key: gap for key, gap in dataclasses.asdict(parity).items() if gap is not None}},
        "imported_from": {role: _origin(file) for role, file in files.items()},
        **({} if calibrated_on is None else {"calibrated_on": calibrated_on}),
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
    adoption: Adoption,
    files: Mapping[str, GraphFile],
    license_text: str | None,
    *,
    drawn: bool,
) -> str:
    """Format the card.

    Args:
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
        "Decisions": [f"- {each}" for each in adoption.decisions],
        "Limits": [
            "- It draws what its data shows, with the data's bias, and nothing else; the data is not known here.",
            "- Training and quality are not known here, and were not measured.",
            *(f"- Not available: {sentence}." for sentence in adoption.missing),
        ],
    }
    parts = [
        f"{'#' if level == 0 else '##'} {heading}\n\n" + "\n".join(lines)
        for level, (heading, lines) in enumerate(sections.items())
    ]
    return "\n\n".join(parts) + "\n"


def check_served(files: Mapping[str, bytes], name: str, version: int) -> str:
    """Have the service check a package as when it loads it, in a process of its own.

    Args:
        files: content by bare name, the manifest among them.

    Returns:
        What was found, as a sentence.

    Raises:
        ExportError: if the service would refuse it, and why.
    """
    if importlib.util.find_spec("service") is None:
        return f"not checked: the service is not installed here; where it is, `{' '.join(CHECK)} PACKAGE` checks it"
    with tempfile.TemporaryDirectory() as folder:
        package = publish(files, Path(folder), name, version)
        done = subprocess.run(  # noqa: S603 - the interpreter that runs this, and a folder made here
            [sys.executable, *CHECK[1:], "--json", str(package)], capture_output=True, text=True, check=False
        )
    try:
        (found,) = json.loads(done.stdout)
    except ValueError:
        words = done.stderr.strip().rpartition("\n")[2]
        return f"not checked: `{' '.join(CHECK)}` ended with {done.returncode}: {words}"
    if not found["ready"]:
        raise ExportError(f"the service would refuse this package: {found['reason']}")
    sizes = found["graphs"]["generator"]["buckets"]
    return f"checked: the service serves it on this machine, in batches of {', '.join(map(str, sizes))}"


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
        "producer": producer or NOT_STATED,
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
