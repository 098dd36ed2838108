"""What a foreign graph's tensors mean: which input is the latent, the label, a constant; what its output shows.

Names, types and shapes say most of it, the last operators say the range of values, and a few runs confirm both. What
cannot be known is asked for: the refusal names the flag.

Shapes: N rows, Z latent coordinates, K classes, C H W channels, height and width, D numbers of a vector.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from training.adopt.batches import constants_of
from training.adopt.decisions import Decision, Layout, Layouts, Options
from training.errors import ExportError
from training.export.limits import IMAGE_CHANNELS, unfit_labels

FLOATS: Final = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
INTEGERS: Final = {TensorProto.INT64, TensorProto.INT32}
LATENT_NAMES: Final = ("z", "latent", "latents", "noise", "input", "x")
LABEL_NAMES: Final = ("label", "labels", "class", "classes", "class_label", "y", "c", "cond", "condition", "onehot")
TRUNCATION_NAMES: Final = ("psi", "truncation", "truncation_psi", "trunc")
TRAINING_NAMES: Final = ("training", "is_training", "is_train", "train")
UNTRUNCATED: Final = 1.0
NOISE_SEED: Final = 1
SMALLEST_GUESSED_SIDE: Final = 16  # below it, 64 numbers may be an image of 8x8 or a vector
SMALLEST_IMAGE: Final = 8  # pixels a side, from which an input is an image and no latent


@dataclass(frozen=True)
class Port:
    """An input or output of a foreign graph.

    Attributes:
        dims: sizes; None where the graph leaves one open.
    """

    name: str
    elem_type: int
    dims: tuple[int | None, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """NumPy's type of its elements."""
        return onnx.helper.tensor_dtype_to_np_dtype(self.elem_type)

    def __str__(self) -> str:
        """Its name and shape, for messages."""
        return f"{self.name!r} [{', '.join('?' if size is None else str(size) for size in self.dims)}]"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a generator.

    Attributes:
        latent: its port, whose axes behind the batch hold Z numbers.
        label: its port; None for an unconditional generator.
        labels: names of the classes; empty for an unconditional generator.
        one_hot: whether the label is a one-hot vector.
        bound: constants by name.
    """

    latent: Port
    latent_size: int
    label: Port | None = None
    labels: tuple[str, ...] = ()
    one_hot: bool = False
    bound: Mapping[str, NDArray[np.generic]]


def ports(values: Sequence[onnx.ValueInfoProto]) -> list[Port]:
    """The inputs or outputs of a graph."""
    return [
        Port(
            value.name,
            value.type.tensor_type.elem_type,
            tuple(axis.dim_value if axis.dim_value > 0 else None for axis in value.type.tensor_type.shape.dim),
        )
        for value in values
    ]


def find_inputs(name: str, model: ModelProto, options: Options) -> tuple[Inputs, list[Decision]]:
    """Find what a generator's inputs mean.

    Raises:
        ExportError: which input is not understood, and the flag that says what it is.
    """
    bound, left, decisions = find_bound(model, options)
    latent, reason = _find_latent(name, left, options)
    size = _latent_size(name, latent, options)
    told = _find_labels(name, model, [port for port in left if port != latent], options)
    prior = "normal" if options.prior is None else options.prior
    told_prior = "no graph states it" if options.prior is None else "as stated"
    decisions += [
        Decision("latent", f"{latent}, {size} numbers", reason, "--latent NAME"),
        Decision("prior", prior, told_prior, "--prior uniform" if options.prior is None else "--prior"),
    ]
    label, labels, one_hot, why = (None, (), False, "") if told is None else told
    if label is not None:
        form = "one-hot" if one_hot else "integers"
        decisions.append(Decision("label", f"{label}, {len(labels)} classes as {form}", why, "--labels FILE|a,b,c"))
    inputs = Inputs(latent=latent, latent_size=size, label=label, labels=labels, one_hot=one_hot, bound=bound)
    return inputs, decisions


def find_bound(
    model: ModelProto, options: Options
) -> tuple[dict[str, NDArray[np.generic]], list[Port], list[Decision]]:
    """Find the inputs that are constants: their values by name, the other inputs, and the decisions."""
    bound: dict[str, NDArray[np.generic]] = {}
    left, decisions = [], []
    for port in ports(model.graph.input):
        value, reason = _bound_value(port, options)
        if value is None:
            left.append(port)
            continue
        bound[port.name] = value
        shown = "one draw of the standard normal" if value.size > 1 and np.ptp(value) else f"{value.flat[0]:g}"
        decisions.append(Decision("constant", f"{port} is {shown}", reason, f"--set {port.name}=VALUE"))
    return bound, left, decisions


def _bound_value(port: Port, options: Options) -> tuple[NDArray[np.generic] | None, str]:
    """The constant that an input is bound to, and why; None where it is an input still."""
    shape = [size or 1 for size in port.dims]
    stated = options.bound.get(port.name)
    if stated == "normal":
        drawn = np.random.default_rng(NOISE_SEED).standard_normal(shape)
        return drawn.astype(port.dtype), "as stated"
    if stated is not None:
        return np.full(shape, stated, port.dtype), "as stated"
    if options.latent == port.name:
        return None, ""
    name = port.name.lower()
    if port.elem_type == TensorProto.BOOL and name in TRAINING_NAMES:
        return np.full(shape, False), "the graph is served in inference"
    if _is_scalar(port) and port.elem_type in FLOATS and name in TRUNCATION_NAMES:
        return np.full(shape, UNTRUNCATED, port.dtype), "no truncation"
    return None, ""


def _is_scalar(port: Port) -> bool:
    return len(port.dims) <= 1


def _find_latent(name: str, left: Sequence[Port], options: Options) -> tuple[Port, str]:
    if options.latent is not None:
        for port in left:
            if port.name == options.latent:
                return port, "as stated"
        raise ExportError(
            f"{name} has no input {options.latent!r} for --latent; it has {', '.join(str(port) for port in left)}"
        )
    candidates = [
        port
        for port in left
        if port.elem_type in FLOATS and len(port.dims) > 1 and port.name.lower() not in LABEL_NAMES
    ]
    if len(candidates) > 1:
        named = [port for port in candidates if port.name.lower() in LATENT_NAMES[:3]]
        if len(named) == 1:
            return named[0], "by its name"
        raise ExportError(
            f"{name} has {len(candidates)} inputs that could be the latent: {', '.join(map(str, candidates))}; name it "
            "with --latent NAME, and say that another is a one-hot label with --labels, or give it a value with --set "
            "NAME=VALUE or --set NAME=normal"
        )
    if candidates and _is_image(candidates[0]):
        raise ExportError(
            f"{name} takes images, {candidates[0]}, and no latents; graphs from images to images are not served"
        )
    if not candidates:
        shown = ", ".join(map(str, left)) or "none"
        raise ExportError(
            f"{name} has no input of floats [N, Z] that could be the latent; it has {shown}: export it with latents as "
            "an input whose first axis is the batch"
        )
    return candidates[0], "the only input of floats for each sample"


def _is_image(port: Port) -> bool:
    """Whether an input has the axes of an image: two large ones, and 1 or 3 channels before or behind them."""
    if len(port.dims) != 4:  # noqa: PLR2004 - N and an image
        return False
    _, first, middle, last = port.dims
    sides = [(first, middle)] if last in IMAGE_CHANNELS else [(middle, last)] if first in IMAGE_CHANNELS else []
    return any(None in side or min(filter(None, side)) >= SMALLEST_IMAGE for side in sides)


def _latent_size(name: str, latent: Port, options: Options) -> int:
    open_axes = [size for size in latent.dims[1:] if size is None]
    if not open_axes:
        size = math.prod(size for size in latent.dims[1:] if size is not None)
        if options.latent_size not in {None, size}:
            raise ExportError(
                f"{name}: the latent {latent} has {size} numbers, not --latent-size {options.latent_size}"
            )
        return size
    if options.latent_size is None or len(latent.dims) > 2:  # noqa: PLR2004 - a batch and Z
        raise ExportError(f"{name}: the latent {latent} does not state its size; give --latent-size Z")
    return options.latent_size


def _find_labels(
    name: str, model: ModelProto, left: Sequence[Port], options: Options
) -> tuple[Port, tuple[str, ...], bool, str] | None:
    """The label's port, the names of its classes, whether it is one-hot, and why."""
    if not left:
        if options.labels is not None:
            raise ExportError(f"{name} takes no label, so --labels has no meaning")
        return None
    singles = [port for port in left if port.dims and math.prod(p or 1 for p in port.dims[1:]) == 1]
    meant = [port for port in left if port.name.lower() in LABEL_NAMES or options.labels is not None]
    integers = [port for port in singles if port.elem_type in INTEGERS or (port.elem_type in FLOATS and port in meant)]
    vectors = [
        port
        for port in meant
        if port.elem_type in FLOATS and len(port.dims) == 2 and port not in singles  # noqa: PLR2004 - a batch and K
    ]
    port = next(iter(integers or vectors), None)
    others = [each for each in left if each != port]
    if port is None or others:
        unknown = others[0]
        hint = "; if it is a one-hot label, give --labels" if len(unknown.dims) == 2 else ""  # noqa: PLR2004
        hint = hint or ("" if unknown.dims else "; a label needs an axis for the batch: export it with one")
        raise ExportError(
            f"{name}: the input {unknown} is neither latent nor label; give it a value with --set {unknown.name}=VALUE"
            f" (or =normal, for one draw of noise){hint}"
        )
    one_hot = port in vectors
    count = port.dims[1] if one_hot else _classes(model, port.name)
    stated = options.labels
    names = tuple(map(str, range(count or 0))) if stated is None else stated
    if not names:
        raise ExportError(f"{name}: the label {port} does not state its classes; give --labels with names or a number")
    if count is not None and len(names) != count:
        raise ExportError(f"{name}: the label {port} has {count} classes, and --labels {len(names)}")
    problems = unfit_labels(names)
    if problems:
        raise ExportError(f"{name}: {problems[0]}; name them with --labels a,b,c or a file with a line for each")
    why = "as stated" if stated is not None else f"{count} in the graph, without names"
    return port, names, one_hot, why


def _classes(model: ModelProto, label: str) -> int | None:
    """Rows of the embedding that an integer label is looked up in; None where there is none."""
    constants, names = constants_of(model.graph), {label}
    for node in model.graph.node:
        if (
            node.op_type in {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
            and node.input[0] in names
        ):
            names.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in names and node.input[0] in constants:
            return int(constants[node.input[0]].dims[0])
        elif node.op_type == "OneHot" and node.input[0] in names and node.input[1] in constants:
            return int(numpy_helper.to_array(constants[node.input[1]]).ravel()[0])
    return None


def find_layout(name: str, output: Port, found: tuple[int, ...], options: Options) -> tuple[Layouts, Decision]:
    """Find how samples are laid out.

    Args:
        output: as the graph states it.
        found: its axes behind the batch, as a run showed them.

    Raises:
        ExportError: if it is not known, or not of a kind that a package holds.
    """
    shown = f"{output.name!r} [N, {', '.join(map(str, found))}]"
    flag = "--shape C,H,W"
    if options.shape is not None:
        if math.prod(options.shape) != math.prod(found):
            stated = ",".join(map(str, options.shape))
            raise ExportError(
                f"{name}: the output {shown} has {math.prod(found)} numbers, which --shape {stated} has not"
            )
        layout: Layout = options.layout or ("NHWC" if found[-1:] == options.shape[:1] and len(found) == 3 else "NCHW")  # noqa: PLR2004
        layouts = Layouts(sample_shape=options.shape, axes=found, layout=layout)
        return _checked(name, shown, layouts), Decision("sample", _told(layouts), "as stated", flag)
    if len(found) == 3:  # noqa: PLR2004 - an image
        layout, reason = _layout(name, shown, found, options.layout)
        channels, height, width = found if layout == "NCHW" else (found[2], *found[:2])
        layouts = Layouts(sample_shape=(channels, height, width), axes=found, layout=layout)
        return _checked(name, shown, layouts), Decision("sample", _told(layouts), reason, "--layout NCHW|NHWC")
    if len(found) == 2:  # noqa: PLR2004 - height and width
        layouts = Layouts(sample_shape=(1, *found), axes=found)
        return layouts, Decision("sample", _told(layouts), f"the output {shown} has no channels", flag)
    if len(found) != 1:
        raise ExportError(f"{name}: the output {shown} is neither an image nor a vector; say its --shape")
    return _flat(name, shown, found[0], options.layout)


def _flat(name: str, shown: str, size: int, layout: Layout | None) -> tuple[Layouts, Decision]:
    """An image or a vector in one axis, by the only square that it can be."""
    for channels in IMAGE_CHANNELS:
        side = math.isqrt(size // channels)
        if channels * side * side != size or side <= 1:
            continue
        if side < SMALLEST_GUESSED_SIDE:
            raise ExportError(
                f"{name}: the output {shown} may be {side}x{side} pixels or a vector; say --shape "
                f"{channels},{side},{side} or --shape {size}"
            )
        layouts = Layouts(sample_shape=(channels, side, side), axes=(size,), layout=layout or "NCHW")
        reason = (
            f"{size} = {channels} x {side} x {side}, channels first" if channels > 1 else f"{size} = {side} x {side}"
        )
        return layouts, Decision("sample", _told(layouts), reason, "--shape C,H,W or --shape D, --layout NHWC")
    layouts = Layouts(sample_shape=(size,), axes=(size,))
    return layouts, Decision("sample", _told(layouts), f"{size} numbers are no square image", "--shape C,H,W")


def _layout(name: str, shown: str, found: tuple[int, ...], stated: Layout | None) -> tuple[Layout, str]:
    if stated is not None:
        return stated, "as stated"
    first, last = found[0] in IMAGE_CHANNELS, found[2] in IMAGE_CHANNELS
    if first and last:
        raise ExportError(f"{name}: the output {shown} may have its channels first or last; say --layout NCHW or NHWC")
    if not first and not last:
        raise ExportError(
            f"{name}: the output {shown} has neither 1 (grey) nor 3 (colour) channels; export it without others"
        )
    return ("NCHW", "channels first") if first else ("NHWC", "channels last")


def _checked(name: str, shown: str, layouts: Layouts) -> Layouts:
    if len(layouts.sample_shape) not in {1, 3} or (layouts.is_image and layouts.sample_shape[0] not in IMAGE_CHANNELS):
        raise ExportError(f"{name}: the output {shown} is no image of 1 or 3 channels (C,H,W) and no vector (D)")
    return layouts


def _told(layouts: Layouts) -> str:
    if not layouts.is_image:
        return f"vectors of {layouts.sample_shape[0]} numbers"
    channels, height, width = layouts.sample_shape
    return f"{'colour' if channels > 1 else 'grey'} images of {width}x{height}, {layouts.layout}"
