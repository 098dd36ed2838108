"""Features inside a graph, what its last layer is given; and those of a graph that a user brings."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from training.errors import ExportError
from training.evaluation.distances import Features
from training.export.graphs import onnx_export
from training.export.graphs.features import ExtractorFile, OnnxExtractor, before_last_layer
from training.export.graphs.interface import TensorSpec
from training.export.graphs.runtime import Graph


def written(*layers: nn.Module) -> bytes:
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    return onnx_export.write(network, (TensorSpec("sample", "FP32", (5,)),), (TensorSpec("latent", "FP32", (2,)),))


def test_the_graph_is_cut_where_its_last_layer_begins() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(5, 3), nn.Linear(3, 2)
    whole = written(first, nn.Tanh(), last)
    samples = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
    features = Graph(before_last_layer(whole, "features")).run({"sample": samples})
    assert list(features) == ["features"]
    by_hand = torch.tanh(first(torch.from_numpy(samples)))
    assert np.allclose(features["features"], by_hand.detach(), atol=1e-6)
    latents = features["features"].astype(np.float32) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    assert np.allclose(latents, Graph(whole).run({"sample": samples})["latent"], atol=1e-6)


def test_the_cut_graph_keeps_no_weight_of_the_last_layer() -> None:
    whole = written(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 200), nn.Linear(200, 2))
    assert len(before_last_layer(whole, "features")) < len(whole) - 4 * 200


def test_a_graph_that_does_not_end_in_a_linear_layer_is_refused() -> None:
    with pytest.raises(ExportError, match="the graph ends in Tanh, not in the linear layer that features go into"):
        before_last_layer(written(nn.Linear(5, 2), nn.Tanh()), "features")


GREY = np.random.default_rng(0).integers(0, 256, (5, 1, 6, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 3, 6, 4), dtype=np.uint8)
BATCH = "batch"


def extractor(
    folder: Path, shape: list[int | str], element: int = onnx.TensorProto.FLOAT, *, first_pixels: int = 12
) -> Path:
    """A graph whose features are the first numbers of an image, as it was shown."""
    floats = "floats"
    nodes = [
        onnx.helper.make_node("Cast", ["image"], [floats], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Flatten", [floats], ["flat"], axis=1),
        onnx.helper.make_node("Slice", ["flat", "start", "end", "axis"], ["features"]),
    ]
    numbers = {"start": [0], "end": [first_pixels], "axis": [1]}
    graph = onnx.helper.make_graph(
        nodes,
        "extractor",
        [onnx.helper.make_tensor_value_info("image", element, shape)],
        [onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None)],
        [onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], value) for name, value in numbers.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "extractor.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        ("bytes", lambda x: x),
        ("unit", lambda x: x / 255),
        ("symmetric", lambda x: x / 127.5 - 1),
        (
            "imagenet",
            lambda x: (
                (x / 255 - np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1))
                / np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
            ),
        ),
    ],
)
def test_a_graph_of_floats_is_shown_pixels_in_the_range_that_it_is_said_to_want(
    tmp_path: Path, value_range: str, expected: Callable[[Features], Features]
) -> None:
    path = extractor(tmp_path, [BATCH, 3, 6, 4], first_pixels=72)
    judge = OnnxExtractor(ExtractorFile(path=path, value_range=value_range), (3, 6, 4))
    features, classes = judge.extract(COLOUR)
    assert np.allclose(features, expected(COLOUR.astype(float)).reshape(5, -1), atol=1e-5)
    assert classes is None
    assert judge.dimensions == 72


def test_channels_come_last_where_the_graph_has_them_there_and_bytes_stay_bytes(tmp_path: Path) -> None:
    judge = OnnxExtractor(ExtractorFile(path=extractor(tmp_path, [BATCH, 6, 4, 3], onnx.TensorProto.UINT8)), (3, 6, 4))
    assert np.array_equal(judge.extract(COLOUR)[0], COLOUR.transpose(0, 2, 3, 1).reshape(5, -1)[:, :12])
    facts = judge.facts()
    assert isinstance(facts["input"], dict)
    assert (facts["input"]["layout"], facts["input"]["range"]) == ("NHWC", "bytes")


def test_grey_images_are_shown_in_all_three_channels(tmp_path: Path) -> None:
    path = extractor(tmp_path, [BATCH, 3, 6, 4], first_pixels=72)
    features, _ = OnnxExtractor(ExtractorFile(path=path, value_range="bytes"), (1, 6, 4)).extract(GREY)
    assert np.array_equal(features, np.repeat(GREY, 3, axis=1).reshape(5, -1))


def test_images_are_resized_as_clean_fid_does(tmp_path: Path) -> None:
    judge = OnnxExtractor(ExtractorFile(path=extractor(tmp_path, [BATCH, 1, 3, 4]), value_range="bytes"), (1, 6, 4))
    plane = Image.fromarray(GREY[0, 0].astype(np.float32), mode="F").resize((4, 3), Image.Resampling.BICUBIC)
    assert np.allclose(judge.extract(GREY)[0][0], np.asarray(plane).ravel(), atol=1e-4)


def test_an_open_size_is_the_images_own_or_the_one_given(tmp_path: Path) -> None:
    path = extractor(tmp_path, [BATCH, 1, "height", "width"], first_pixels=1_000)
    assert OnnxExtractor(ExtractorFile(path=path, value_range="bytes"), (1, 6, 4)).dimensions == 24
    assert OnnxExtractor(ExtractorFile(path=path, value_range="bytes", size=10), (1, 6, 4)).dimensions == 100


def test_a_graph_of_a_fixed_batch_is_shown_as_many_at_a_time(tmp_path: Path) -> None:
    judge = OnnxExtractor(ExtractorFile(path=extractor(tmp_path, [2, 1, 6, 4]), value_range="bytes"), (1, 6, 4))
    assert np.array_equal(judge.extract(GREY)[0], GREY.reshape(5, -1)[:, :12])


def test_another_file_has_another_hash(tmp_path: Path) -> None:
    first = OnnxExtractor(ExtractorFile(path=extractor(tmp_path, [2, 1, 6, 4]), value_range="bytes"), (1, 6, 4)).facts()
    second = OnnxExtractor(
        ExtractorFile(path=extractor(tmp_path, [3, 1, 6, 4]), value_range="bytes"), (1, 6, 4)
    ).facts()
    assert first["sha256"] == hashlib.sha256(extractor(tmp_path, [2, 1, 6, 4]).read_bytes()).hexdigest()
    assert first["sha256"] != second["sha256"]


@pytest.mark.parametrize(
    ("shape", "element", "value_range", "size", "message"),
    [
        (
            [BATCH, 3, 6, 4],
            onnx.TensorProto.FLOAT,
            None,
            None,
            r"does not say of which range: --features-range bytes\|",
        ),
        ([BATCH, 3, 6, 4], onnx.TensorProto.UINT8, "unit", None, "takes bytes, so --features-range unit means nothing"),
        ([BATCH, 1, 6, 4], onnx.TensorProto.FLOAT, "unit", None, "takes 1 channels, and the images have 3"),
        ([BATCH, "c", 6, 4], onnx.TensorProto.FLOAT, "unit", None, r"neither \[B, C, H, W\] nor \[B, H, W, C\]"),
        ([BATCH, 72], onnx.TensorProto.FLOAT, "unit", None, "takes 2 axes where images have 4"),
        ([BATCH, 3, 6, 4], onnx.TensorProto.INT64, "unit", None, r"takes tensor\(int64\), which is none of"),
        (
            [BATCH, 3, 6, 6],
            onnx.TensorProto.FLOAT,
            "unit",
            8,
            "takes images of 6 pixels a side, not of --features-size 8",
        ),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_with_what_to_do(
    tmp_path: Path, shape: list[int | str], element: int, value_range: str | None, size: int | None, message: str
) -> None:
    given = ExtractorFile(path=extractor(tmp_path, shape, element), value_range=value_range, size=size)
    with pytest.raises(ExportError, match=message):
        OnnxExtractor(given, (3, 6, 4))


def test_a_file_that_is_no_graph_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot read .*none.onnx: No such file"):
        OnnxExtractor(ExtractorFile(path=tmp_path / "none.onnx"), (1, 6, 4))
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ExportError, match=r"junk.onnx is no ONNX graph that can be run"):
        OnnxExtractor(ExtractorFile(path=tmp_path / "junk.onnx"), (1, 6, 4))
