"""The writer's view: complete, consistent by construction, and nothing that the schema forbids."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import jsonschema
import pytest

from training.errors import ExportError
from training.export.calibration import Calibration, Curve, PiecewiseLinear, Platt
from training.export.golden import Tolerance
from training.export.graphs.interface import Interface
from training.export.manifest import SCHEMA_PATH, DiscriminatorFacts, Manifest

LINE = Platt(2.0, -1.0)
CURVE = PiecewiseLinear((-1.0, 0.5, 2.0), (-3.0, 0.0, 0.0))


def example(curve: Curve = LINE) -> Manifest:
    return Manifest(
        name="digits",
        version=3,
        created=datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
        summary="A GAN.",
        license=None,
        files={"generator.onnx": b"g", "discriminator.onnx": b"dd", "golden.npz": b"zzz"},
        interface=Interface(sample_shape=(3, 9, 7), latent_size=5),
        generator_opset=18,
        discriminator=DiscriminatorFacts(
            opset=18,
            loss_family="hinge",
            batch_coupled=False,
            calibration=Calibration(curve, 100, 102, 0.01, 0.5, 0.8),
            real_quantiles=[0.0, 1.0],
            generated_quantiles=[-1.0, 0.5],
        ),
        golden_count=16,
        tolerances=[Tolerance("CPUExecutionProvider", "fp32", 1e-4, 1, 1e-4)],
        provenance={
            "objective": "hinge",
            "config": {},
            "config_sha256": "0" * 64,
            "data": {"name": "digits", "sha256": "1" * 64},
            "commit": None,
            "samples_seen": 10,
            "metrics": {"histogram": (1, 2)},
        },
    )


@pytest.mark.parametrize("curve", [LINE, CURVE])
def test_what_is_written_is_valid(curve: Curve) -> None:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(example(curve).to_json()), schema, cls=jsonschema.Draft7Validator)


def test_tensors_follow_from_the_latent_and_the_image() -> None:
    content = json.loads(example().to_json())
    sample = {"name": "sample", "datatype": "FP32", "shape": [-1, 3, 9, 7], "role": "sample"}
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [-1, 9, 7, 3], "role": "pixels"}
    assert content["generator"]["inputs"] == [
        {"name": "latent", "datatype": "FP32", "shape": [-1, 5], "role": "latent"}
    ]
    assert content["generator"]["outputs"] == [sample, pixels]
    assert content["discriminator"]["inputs"] == [sample]
    assert content["discriminator"]["outputs"] == [
        {"name": "logit", "datatype": "FP32", "shape": [-1], "role": "logit"}
    ]


def test_the_calibration_is_written_in_the_words_of_its_method() -> None:
    line, curve = (json.loads(example(kind).to_json())["discriminator"]["calibration"] for kind in (LINE, CURVE))
    counts = {"fit_samples": 100, "evaluation_samples": 102, "expected_calibration_error": 0.01}
    assert line == {"method": "platt", "slope": 2.0, "intercept": -1.0, **counts}
    assert curve == {
        "method": "piecewise_linear",
        "logits": [-1.0, 0.5, 2.0],
        "log_odds": [-3.0, 0.0, 0.0],
        **counts,
    }


def test_moments_are_written_in_universal_time() -> None:
    moment = datetime(2026, 11, 22, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(replace(example(), created=moment).to_json())["created"] == "2026-11-21T23:00:00Z"


def test_a_license_stands_there_only_if_stated() -> None:
    assert "license" not in json.loads(example().to_json())
    assert json.loads(replace(example(), license="MIT").to_json())["license"] == "MIT"


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (replace(example(), name="No"), r"not be valid: name: 'No' does not match"),
        (replace(example(), interface=Interface(sample_shape=(4, 8, 8), latent_size=5)), r"not be valid: sample"),
        (replace(example(), tolerances=[]), r"not be valid: golden.tolerances: \[\] should be non-empty"),
        (replace(example(), generator_opset=9), r"not be valid: generator.opset: 9 is less than the minimum"),
        (replace(example(), provenance={}), r"not be valid: provenance: 'objective' is a required property"),
    ],
)
def test_what_the_schema_forbids_is_not_written(damaged: Manifest, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        damaged.to_json()


def test_a_number_that_json_does_not_have_is_not_written() -> None:
    endless = replace(example(), provenance={**example().provenance, "metrics": {"distance": float("inf")}})
    with pytest.raises(ValueError, match="JSON compliant"):
        endless.to_json()
