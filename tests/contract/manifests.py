"""Manifests made at random: every shape that the format can describe, each valid and in agreement with itself.

Drawn from the prose of `models/README.md`, and importing neither view of the format, so that the writer's view and
the reader's view can both be held against it.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Json = Any  # a JSON document: the schema gives it its types, and tests take it apart freely
Object = dict[str, Json]

BATCH = -1
MAX_INT32 = 2**31 - 1
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
IDENTIFIERS = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), max_size=50)
HASHES = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
FILES = st.fixed_dictionaries({"size": st.integers(1, MAX_INT32), "sha256": HASHES})
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def ascending(size: int, *, strictly: bool = False) -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=size, max_size=size, unique=strictly).map(sorted)


@st.composite
def samples(draw: st.DrawFn) -> Object:
    side = st.integers(1, 64)
    match draw(st.sampled_from(["image", "image", "vector", "item"])):
        case "image":
            return {
                "kind": "image",
                "layout": "NCHW",
                "channels": draw(st.sampled_from([1, 3])),
                "height": draw(side),
                "width": draw(side),
                "range": draw(ascending(2, strictly=True)),
            }
        case "vector":
            return {"kind": "vector", "size": draw(st.integers(1, 1000))}
        case _:
            return {"kind": "item", "count": draw(st.integers(1, MAX_INT32))}


@st.composite
def codes(draw: st.DrawFn) -> Object:
    names = draw(st.lists(IDENTIFIERS, min_size=1, max_size=4, unique=True))
    split = draw(st.integers(0, len(names)))
    return {
        "categorical": [{"name": name, "size": draw(st.integers(2, 20))} for name in names[:split]],
        "continuous": [
            dict(zip(("name", "low", "high"), (name, *draw(ascending(2, strictly=True))), strict=True))
            for name in names[split:]
        ],
    }


@st.composite
def calibrations(draw: st.DrawFn) -> Object:
    counted = {
        "fit_samples": draw(st.integers(2, 10**6)),
        "evaluation_samples": draw(st.integers(2, 10**6)),
        "expected_calibration_error": draw(st.floats(0, 1)),
    }
    if draw(st.booleans()):
        return {"method": "platt", "slope": draw(st.floats(0, 100)), "intercept": draw(NUMBERS), **counted}
    knots = draw(st.integers(2, 9))
    logits, log_odds = draw(ascending(knots, strictly=True)), draw(ascending(knots))
    return {"method": "piecewise_linear", "logits": logits, "log_odds": log_odds, **counted}


@st.composite
def unknown_labels(draw: st.DrawFn, classes: int) -> Object:
    of_every_class = st.lists(NUMBERS, min_size=classes, max_size=classes)
    points = draw(st.integers(2, 9))
    return {
        "weights": draw(st.lists(of_every_class, min_size=classes, max_size=classes)),
        "offsets": draw(of_every_class),
        "label_accuracy": draw(st.floats(0, 1)),
        "calibration": draw(calibrations()),
        "reference_quantiles": {"real": draw(ascending(points)), "generated": draw(ascending(points))},
    }


def tensor(manifest: Object, role: str, pack: int = 1) -> Object:
    """The tensor of a role, as `models/README.md` says it."""
    sample = manifest["sample"]
    match role, sample["kind"]:
        case "latent", _:
            datatype, shape = "FP32", [manifest["latent"]["size"]]
        case "label" | "condition", _:
            datatype, shape = "INT64", []
        case "code", _:
            widths = [code["size"] for code in manifest["codes"]["categorical"]]
            datatype, shape = "FP32", [sum(widths) + len(manifest["codes"]["continuous"])]
        case "logit", _:
            datatype, shape = "FP32", []
        case "pixels", _:
            datatype, shape = "UINT8", [sample["height"], sample["width"], sample["channels"]]
        case "sample", "image":
            datatype, shape = "FP32", [pack * sample["channels"], sample["height"], sample["width"]]
        case "sample", "vector":
            datatype, shape = "FP32", [pack * sample["size"]]
        case _:
            datatype, shape = "INT64", [pack] if pack > 1 else []
    return {"name": role, "datatype": datatype, "shape": [BATCH, *shape], "role": role}


@st.composite
def manifests(draw: st.DrawFn) -> Object:
    """Any valid manifest."""
    manifest: Object = {
        "schema_version": 1,
        "name": draw(NAMES),
        "version": draw(st.integers(1, MAX_INT32)),
        "created": draw(st.datetimes().map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0"))),
        "latent": {
            "size": draw(st.integers(1, 65536)),
            "prior": draw(st.sampled_from(["standard_normal", "uniform", "gumbel"])),
        },
        "sample": draw(samples()),
    }
    optional: dict[str, Callable[[], Json]] = {
        "summary": lambda: draw(TEXT),
        "license": lambda: draw(TEXT),
        "labels": lambda: {"names": draw(st.lists(TEXT.filter(bool), min_size=2, max_size=5, unique=True))},
        "codes": lambda: draw(codes()),
        "condition": lambda: {"name": draw(IDENTIFIERS), "count": draw(st.integers(1, MAX_INT32))},
    }
    manifest |= {key: value() for key, value in optional.items() if draw(st.booleans())}
    stated = [
        role for key, role in (("labels", "label"), ("codes", "code"), ("condition", "condition")) if key in manifest
    ]
    opset = draw(st.integers(17, 26))
    pixels = ["pixels"] if manifest["sample"]["kind"] == "image" else []

    def graph(kind: str, inputs: list[str], outputs: list[str], pack: int = 1) -> Object:
        return {
            "file": f"{kind}.onnx",
            "opset": opset,
            "inputs": [tensor(manifest, role, pack) for role in inputs],
            "outputs": [tensor(manifest, role) for role in outputs],
        }

    manifest["generator"] = graph("generator", draw(st.permutations(["latent", *stated])), ["sample", *pixels])
    if draw(st.booleans()):
        pack = draw(st.integers(1, 4))
        inputs = ["sample", *(role for role in ("latent", *stated) if draw(st.booleans()))]
        points = draw(st.integers(2, 9))
        manifest["discriminator"] = {
            **graph("discriminator", inputs, ["logit"], pack),
            "pack": pack,
            "loss_family": draw(
                st.sampled_from(["minimax", "non_saturating", "hinge", "relativistic", "f_divergence"])
            ),
            "batch_coupled": draw(st.booleans()),
        }
        if calibrated := draw(st.booleans()):
            manifest["discriminator"]["calibration"] = draw(calibrations())
            quantiles = {"real": draw(ascending(points)), "generated": draw(ascending(points))}
            manifest["discriminator"]["reference_quantiles"] = quantiles
        if calibrated and "label" in inputs and draw(st.booleans()):
            manifest["discriminator"]["unknown_label"] = draw(unknown_labels(len(manifest["labels"]["names"])))
    if draw(st.booleans()):
        reads = [["latent"], ["code"], ["latent", "code"]] if "codes" in manifest else [["latent"]]
        manifest["encoder"] = graph("encoder", ["sample"], draw(st.sampled_from(reads)))
    files = [f"{kind}.onnx" for kind in ("generator", "discriminator", "encoder") if kind in manifest]
    extra = ["card.md", "preview.png"] if draw(st.booleans()) else []
    sample = manifest["sample"]
    if sample["kind"] == "vector" and draw(st.booleans()):
        extra = [*extra, "reference.npy"]
        most = min(4096, 1_048_576 // sample["size"])
        manifest["reference"] = {"file": "reference.npy", "count": draw(st.integers(1, most))}
    manifest["files"] = {name: draw(FILES) for name in (*files, "golden.npz", *extra)}
    places = st.tuples(
        st.sampled_from(["CPUExecutionProvider", "CUDAExecutionProvider"]), st.sampled_from(["fp32", "tf32", "fp16"])
    )
    manifest["golden"] = {
        "file": "golden.npz",
        "count": draw(st.integers(1, 256)),
        "tolerances": [
            {
                "provider": provider,
                "precision": precision,
                "sample": draw(st.floats(0, 1)),
                "pixels": draw(st.integers(0, 255)),
                "logit": draw(st.floats(0, 1)),
                **{role: draw(st.floats(0, 1)) for role in ("latent", "code") if draw(st.booleans())},
            }
            for provider, precision in draw(st.lists(places, min_size=1, max_size=4, unique=True))
        ],
    }
    manifest["provenance"] = {
        "objective": draw(TEXT),
        "config": draw(st.dictionaries(TEXT, JSON_VALUES, max_size=3)),
        "config_sha256": draw(HASHES),
        "data": {"name": draw(TEXT), "sha256": draw(HASHES)},
        "commit": draw(st.none() | TEXT),
        "samples_seen": draw(st.integers(0, 10**12)),
        "metrics": draw(st.dictionaries(TEXT, JSON_VALUES, max_size=3)),
        **draw(st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), JSON_VALUES, max_size=2)),
    }
    return manifest
