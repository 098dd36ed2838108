"""Golden vectors: what they hold, and how far a replay may stray."""

import io

import numpy as np
import onnx

from training.export import golden
from training.export.graphs.parity import Parity
from training.export.graphs.runtime import Arrays, Graph

GENERATOR = """
<ir_version: 8, opset_import: ["": 18]>
agraph (float[batch, 2] latent) => (float[batch, 2] sample, uint8[batch, 2] pixels) {
    sample = Tanh (latent)
    positive = Relu (sample)
    pixels = Cast <to: int = 2> (positive)
}
"""
DISCRIMINATOR = """
<ir_version: 8, opset_import: ["": 18]>
agraph (float[batch, 2] sample) => (float[batch] logit) {
    logit = ReduceSum <keepdims: int = 0> (sample, axes)
}
"""
PROVIDERS = ["CPUExecutionProvider", "CUDAExecutionProvider"]


def loaded(text: str) -> Graph:
    model = onnx.parser.parse_model(text)
    if "axes" in text:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axes"))
    return Graph(model.SerializeToString())


def example() -> Arrays:
    chance = np.random.default_rng(0)
    latents, samples = chance.standard_normal((2, golden.COUNT, 2), dtype=np.float32)
    return golden.vectors(
        {
            "generator": (loaded(GENERATOR), {"latent": latents}),
            "discriminator": (loaded(DISCRIMINATOR), {"sample": 30 * samples}),
        }
    )


def test_every_input_and_output_of_both_graphs_is_kept() -> None:
    arrays = example()
    assert set(arrays) == {
        "generator.latent",
        "generator.sample",
        "generator.pixels",
        "discriminator.sample",
        "discriminator.logit",
    }
    assert {len(array) for array in arrays.values()} == {golden.COUNT}
    assert np.allclose(arrays["generator.sample"], np.tanh(arrays["generator.latent"], dtype=np.float64), atol=1e-6)
    assert np.allclose(arrays["discriminator.logit"], arrays["discriminator.sample"].sum(axis=1), atol=1e-4)


def test_the_same_vectors_give_the_same_bytes_and_read_back() -> None:
    content = golden.pack(example())
    assert content == golden.pack(example())
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        assert {name: file[name].dtype.str for name in file.files} == {
            "generator.latent": "<f4",
            "generator.sample": "<f4",
            "generator.pixels": "|u1",
            "discriminator.sample": "<f4",
            "discriminator.logit": "<f4",
        }


def test_tolerances_have_a_floor_and_grow_with_what_was_measured_and_with_the_logits() -> None:
    arrays = example()
    largest = float(np.abs(arrays["discriminator.logit"]).max())
    exact, measured = (golden.tolerances(arrays, Parity(gap, 0, gap)) for gap in (0.0, 1e-4))
    assert [(entry.provider, entry.precision) for entry in exact] == [(name, "fp32") for name in PROVIDERS]
    for entries, relative in ((exact, 1e-4), (measured, 8e-4)):
        for entry, factor in zip(entries, (1, 10), strict=True):
            assert np.isclose(entry.sample, factor * relative)
            assert np.isclose(entry.logit, factor * relative * largest)
            assert entry.pixels == 1


def test_the_floor_is_far_below_a_step_between_two_bytes() -> None:
    assert all(entry.sample < 0.5 * 2 / 255 for entry in golden.tolerances(example(), Parity(0, 0, 0)))
