"""Features from ONNX graphs: the input of an exported graph's last layer, and the output of a user's extractor.

A package's encoder returns latents or codes; its features are measured one layer earlier. The graph is cut there, so
the measured features are those inside the graph that is served.

Shapes: N images, B of a batch, C H W channels, height and width, D or F features.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from training.data.image_data import Bytes
from training.data.pixels import LARGEST_BYTE
from training.errors import ExportError
from training.evaluation.distances import Features
from training.export.graphs.onnx_export import BATCH_NAME
from training.export.graphs.runtime import Graph
from training.progress import progress

LAST_LAYERS = {"Gemm", "MatMul"}
GIVEN_BATCH: Final = 32  # bounds the memory of large extractors
IMAGE_AXES: Final = 4
CHANNELS: Final = (1, 3)
TYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
# Values of the bytes 0 and 255, for all channels or for red, green and blue. ImageNet's follow from torchvision's means
# and deviations: (0 - mean) / deviation and (1 - mean) / deviation.
RANGES: Final = {
    "bytes": ([0.0], [255.0]),
    "unit": ([0.0], [1.0]),
    "symmetric": ([-1.0], [1.0]),
    "imagenet": (
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
        [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225],
    ),
}


def before_last_layer(graph: bytes, name: str) -> bytes:
    """Cut a graph before its last layer.

    Args:
        graph: serialized, with one output, which a linear layer computes.

    Returns:
        A serialized graph of the same inputs whose only output is the features, [B, F].

    Raises:
        ExportError: if the output is not computed by a linear layer.
    """
    model = onnx.load_model_from_string(graph)
    *before, last = model.graph.node
    if last.op_type not in LAST_LAYERS or last.output[0] != model.graph.output[0].name:
        raise ExportError(f"the graph ends in {last.op_type}, not in the linear layer that features go into")
    del model.graph.node[len(before) :]
    model.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], [name]))
    del model.graph.output[:]
    shape = [BATCH_NAME, None]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    unused = set(last.input[1:])
    kept = [weights for weights in model.graph.initializer if weights.name not in unused]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    cut: bytes = model.SerializeToString(deterministic=True)
    return cut


@dataclass(frozen=True, kw_only=True)
class ExtractorFile:
    """A user's feature extractor.

    Attributes:
        value_range: values of the pixels 0 … 255; None where the graph takes bytes.
        size: height and width of its images in pixels, where the graph leaves them open; None keeps the images' own.
    """

    path: Path
    value_range: str | None = None
    size: int | None = None


class OnnxExtractor:
    """A user's ONNX graph as a feature extractor: one input [B, C, H, W] or [B, H, W, C], one output [B, D].

    Layout, size, type and batch are the graph's where it defines them. Images of another size are resized as clean-fid
    does: bicubic with antialiasing, each channel as floats, without rounding. A grey image is repeated in all three
        channels of a colour graph.

    Args:
        given: the file and what it does not define.
        image_shape: [C, H, W] of the images to judge.

    Raises:
        ExportError: if it is no graph, does not fit the images, or its features are not finite.

    References:
        Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation (2022), on resizing.
    """

    def __init__(self, given: ExtractorFile, image_shape: tuple[int, int, int]) -> None:
        self._name = given.path.name
        try:
            model = given.path.read_bytes()
        except OSError as error:
            raise ExportError(f"cannot read {given.path}: {error.strerror}") from error
        self._sha256 = hashlib.sha256(model).hexdigest()
        try:
            self._graph = Graph(model)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ExportError(f"{given.path} is no ONNX graph that can be run: {reason}") from error
        inputs, outputs = self._graph.inputs, self._graph.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._unfit(f"has {len(inputs)} inputs and {len(outputs)} outputs where one of each is wanted")
        (taken,) = inputs
        self._input, self._output = taken.name, outputs[0].name
        self._dtype = TYPES.get(taken.type)
        if self._dtype is None:
            raise self._unfit(f"takes {taken.type}, which is none of {', '.join(TYPES)}")
        self._scale, self._shift = self._values(given.value_range)
        self._batch, self._channels, self._last, self._size = self._layout(list(taken.shape), given.size, image_shape)
        trial, _ = self.extract(np.zeros((2, *image_shape), np.uint8))
        self._dimensions = int(trial.shape[1])

    @property
    def dimensions(self) -> int:
        """D."""
        return self._dimensions

    def facts(self) -> dict[str, object]:
        """What identifies the features, as plain values: the file, and the conversion of pixels."""
        height, width = self._size
        return {
            "kind": "file",
            "dimensions": self.dimensions,
            "file": self._name,
            "sha256": self._sha256,
            "input": {
                "height": height,
                "width": width,
                "channels": self._channels,
                "layout": "NHWC" if self._last else "NCHW",
                "range": self._range,
                "resize": "bicubic, antialiased, not rounded",
            },
        }

    def extract(self, pixels: Bytes) -> tuple[Features, None]:
        """Compute features.

        Args:
            pixels: [N, C, H, W].

        Returns:
            Features [N, D], and no class probabilities.
        """
        batch = self._batch or GIVEN_BATCH
        starts = range(0, len(pixels), batch)
        rows = [
            self._look(pixels[start : start + batch])
            for start in progress(starts, f"features of {self._name}", len(starts), "batch")
        ]
        features = np.concatenate(rows).astype(np.float64)
        if not np.isfinite(features).all():
            raise self._unfit("gives features that are no finite numbers")
        return features, None

    def _look(self, pixels: Bytes) -> NDArray[np.generic]:
        resized = _resized(pixels, self._size)
        shown = np.broadcast_to(resized, (len(pixels), self._channels, *self._size)) * self._scale + self._shift
        if self._dtype == np.uint8:
            shown = np.rint(shown.clip(0, LARGEST_BYTE))
        missing = 0 if self._batch is None else self._batch - len(shown)
        shown = np.concatenate([shown, np.repeat(shown[:1], missing, axis=0)])
        arranged = shown.transpose(0, 2, 3, 1) if self._last else shown
        try:
            found = self._graph.run({self._input: np.ascontiguousarray(arranged, dtype=self._dtype)})[self._output]
        except Exception as error:
            raise self._unfit(f"fails on {len(shown)} images: {str(error).splitlines()[0]}") from error
        if found.shape[:1] != (len(shown),):
            raise self._unfit(f"answers {len(shown)} images with {list(found.shape)}, which is no row for each")
        return found[: len(pixels)].reshape(len(pixels), -1)

    def _values(self, value_range: str | None) -> tuple[Features, Features]:
        if self._dtype == np.uint8:
            if value_range not in {None, "bytes"}:
                raise self._unfit(f"takes bytes, so --features-range {value_range} means nothing to it")
            value_range = "bytes"
        if value_range is None:
            raise self._unfit(f"takes floats and does not say of which range: --features-range {'|'.join(RANGES)}")
        self._range = value_range
        low, high = (np.array(ends).reshape(-1, 1, 1) for ends in RANGES[value_range])
        return (high - low) / LARGEST_BYTE, low

    def _layout(
        self, shape: list[int | str | None], size: int | None, image_shape: tuple[int, int, int]
    ) -> tuple[int | None, int, bool, tuple[int, int]]:
        """Batch if it is fixed, channels, whether they come last, height and width."""
        if len(shape) != IMAGE_AXES:
            raise self._unfit(f"takes {len(shape)} axes where images have {IMAGE_AXES}")
        last = shape[1] not in CHANNELS and shape[3] in CHANNELS
        channels = shape[3] if last else shape[1]
        if channels not in CHANNELS:
            raise self._unfit(f"takes {shape}, which says neither [B, C, H, W] nor [B, H, W, C] of 1 or 3 channels")
        if image_shape[0] not in {1, channels}:
            raise self._unfit(f"takes {channels} channels, and the images have {image_shape[0]}")
        if self._range == "imagenet" and channels != len(RANGES["imagenet"][0]):
            raise self._unfit("takes one channel, and --features-range imagenet is of three")
        sides = shape[1:3] if last else shape[2:]
        stated = [side for side in sides if isinstance(side, int)]
        if stated and size is not None and any(side != size for side in stated):
            raise self._unfit(f"takes images of {stated[-1]} pixels a side, not of --features-size {size}")
        height, width = (
            side if isinstance(side, int) else size or own for side, own in zip(sides, image_shape[1:], strict=True)
        )
        return (shape[0] if isinstance(shape[0], int) else None), int(channels), last, (height, width)

    def _unfit(self, why: str) -> ExportError:
        return ExportError(f"{self._name} cannot judge these images: it {why}")


def _resized(pixels: Bytes, size: tuple[int, int]) -> NDArray[np.float32]:
    """Images [N, C, H, W] at a height and width, as floats from 0 to 255 (bicubic may exceed the range)."""
    height, width = size
    if pixels.shape[2:] == size:
        return pixels.astype(np.float32)
    resized = np.empty((*pixels.shape[:2], height, width), np.float32)
    for number, channel in np.ndindex(*pixels.shape[:2]):
        plane = Image.fromarray(pixels[number, channel].astype(np.float32))
        resized[number, channel] = plane.resize((width, height), Image.Resampling.BICUBIC)
    return resized
