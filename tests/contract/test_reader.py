"""The reader's view against the schema: both take what is valid, both refuse every single damage, in clear words."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from service.errors import ManifestRefused
from service.packages.manifest import parse_manifest
from tests.contract.manifests import JSON_VALUES, Json, Object, manifests
from tests.support.toy import write_toy_package

SCHEMA = Draft7Validator(json.loads((Path(__file__).parents[2] / "models/manifest.schema.json").read_text()))
Step = str | int
SLOW_TO_DRAW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def reader_accepts(manifest: Json) -> bool:
    try:
        parse_manifest(json.dumps(manifest).encode())
    except ManifestRefused:
        return False
    return True


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Object:
    """A conditional toy's manifest, with every optional key that a toy has."""
    folder = write_toy_package(tmp_path_factory.mktemp("models"), conditional=True, channels=3, unknown_label=True)
    manifest: Object = json.loads((folder / "manifest.json").read_text())
    return manifest


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW_TO_DRAW)
@given(manifests())
def test_whatever_is_valid_is_read(manifest: Object) -> None:
    assert [error.message for error in SCHEMA.iter_errors(manifest)] == []
    read = parse_manifest(json.dumps(manifest).encode())
    assert json.loads(read.model_dump_json(exclude_unset=True)) == manifest


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (None, "reference: is null; leave the key out"),
        ({"file": "reference.npy"}, "reference.count: Field required"),
        ({"file": "reference.npy", "count": 0}, "reference.count: Input should be greater"),
        ({"file": "reference.npy", "count": 4_097}, "reference.count: Input should be less"),
        ({"file": "../reference.npy", "count": 5}, "reference.file: String should match"),
        ({"file": "reference.npy", "count": 5, "rows": 5}, "reference.rows: Extra inputs"),
        ({"file": "other.npy", "count": 5}, "reference.file: other.npy is not listed in files"),
        ({"file": "golden.npz", "count": 5}, "files.golden.npz: is used for more than one of"),
    ],
)
def test_a_damage_of_the_reference_sample_is_refused(tmp_path: Path, damage: Json, words: str) -> None:
    folder = write_toy_package(tmp_path, kind="vector", vector_size=3, reference_count=5)
    manifest: Object = json.loads((folder / "manifest.json").read_text())
    assert SCHEMA.is_valid(manifest)
    damaged = manifest | {"reference": damage}
    assert SCHEMA.is_valid(damaged) == words.startswith(("reference.file: other", "files."))
    with pytest.raises(ManifestRefused, match=f"^manifest.json: {words}"):
        parse_manifest(json.dumps(damaged).encode())


def test_a_reference_sample_is_of_vectors_and_has_few_numbers(toy: Object) -> None:
    reference = {"reference": {"file": "reference.npy", "count": 4_096}}
    images = toy | reference | {"files": toy["files"] | {"reference.npy": FILE}}
    with pytest.raises(ManifestRefused, match=r"^manifest.json: reference: .* of kind image, not vector"):
        parse_manifest(json.dumps(images).encode())
    sample = {"name": "sample", "datatype": "FP32", "shape": [-1, 257], "role": "sample"}
    vectors = copy.deepcopy(images) | {"sample": {"kind": "vector", "size": 257}}
    del vectors["discriminator"]
    vectors["generator"]["outputs"] = [sample]
    with pytest.raises(ManifestRefused, match=r"reference\.count: makes 1052672 numbers; at most 1048576 are read"):
        parse_manifest(json.dumps(vectors).encode())


def test_a_discriminator_may_be_uncalibrated_but_not_by_half(toy: Object) -> None:
    keys = ("calibration", "reference_quantiles", "unknown_label")
    bare = toy | {"discriminator": {key: value for key, value in toy["discriminator"].items() if key not in keys}}
    assert SCHEMA.is_valid(bare)
    read = parse_manifest(json.dumps(bare).encode())
    assert read.discriminator is not None
    assert read.discriminator.calibration is None
    for kept in (("calibration",), ("reference_quantiles",), ("unknown_label",)):
        half = bare | {"discriminator": bare["discriminator"] | {key: toy["discriminator"][key] for key in kept}}
        assert not SCHEMA.is_valid(half)
        with pytest.raises(ManifestRefused, match=r"discriminator.* without the"):
            parse_manifest(json.dumps(half).encode())


def places(document: Json, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """The path to every value of a document; of a list's elements the first two stand for all."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:2]):
            yield from places(value, (*path, index))


def parent(document: Json, path: tuple[Step, ...]) -> Json:
    for step in path[:-1]:
        document = document[step]
    return document


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_value_is_read_that_the_schema_refuses(toy: Object, data: st.DataObject) -> None:
    damaged = copy.deepcopy(toy)
    path = data.draw(st.sampled_from(list(places(damaged))))
    parent(damaged, path)[path[-1]] = data.draw(JSON_VALUES)
    assert SCHEMA.is_valid(damaged) or not reader_accepts(damaged)


def test_no_key_that_the_schema_requires_may_be_missing(toy: Object) -> None:
    tolerance = ("golden", "tolerances", 1)
    optional: set[tuple[Step, ...]] = {("summary",), ("license",), ("discriminator",)}
    optional |= {(*tolerance, "latent"), (*tolerance, "code"), UNKNOWN}
    for path in places(toy):
        if isinstance(path[-1], int) or path[:2] == ("provenance", "config") or path in optional:
            continue
        damaged = copy.deepcopy(toy)
        del parent(damaged, path)[path[-1]]
        if path == ("labels",) or path[0] == "files":  # the schema does not connect keys; the reader does
            assert not reader_accepts(damaged), path
            continue
        assert not SCHEMA.is_valid(damaged), path
        with pytest.raises(ManifestRefused, match=re.escape(str(path[-1]))):
            parse_manifest(json.dumps(damaged).encode())


def test_no_object_takes_an_unknown_key_but_provenance(toy: Object) -> None:
    for path in ((), *places(toy)):
        damaged = copy.deepcopy(toy)
        value = parent(damaged, (*path, "unknown"))
        if not isinstance(value, dict):
            continue
        value["unknown"] = 1
        free = path[:1] == ("provenance",)
        assert SCHEMA.is_valid(damaged) == free, path
        assert reader_accepts(damaged) == free, path


def put(value: Json, *path: Step) -> Callable[[Object], None]:
    def damage(manifest: Object) -> None:
        parent(manifest, path)[path[-1]] = value

    damage.__name__ = f"{'.'.join(map(str, path))} = {json.dumps(value)[:40]}"
    return damage


def swap(*path: Step) -> Callable[[Object], None]:
    def damage(manifest: Object) -> None:
        parent(manifest, path)[path[-1]].reverse()

    damage.__name__ = f"{'.'.join(map(str, path))} reversed"
    return damage


def duplicate(*path: Step) -> Callable[[Object], None]:
    def damage(manifest: Object) -> None:
        values = parent(manifest, path)[path[-1]]
        values.append(values[0])

    damage.__name__ = f"{'.'.join(map(str, path))} with its first twice"
    return damage


PLATT = ("discriminator", "calibration")
UNKNOWN = ("discriminator", "unknown_label")
JUDGED = ("discriminator", "inputs")
FILE = {"size": 1, "sha256": "0" * 64}
KNOTS = {
    "method": "piecewise_linear",
    "logits": [0, 1],
    "log_odds": [0, 1],
    "fit_samples": 2,
    "evaluation_samples": 2,
    "expected_calibration_error": 0,
}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (put(2, "schema_version"), "schema_version: is 2; this service reads 1"),
        (put("1", "schema_version"), 'schema_version: is "1"; this service reads 1'),
        (put("Toy", "name"), "name: String should match"),
        (put("../toy", "name"), "name: String should match"),
        (put("a.b", "name"), "name: String should match"),
        (put(0, "version"), "version: Input should be greater"),
        (put("1", "version"), "version: Input should be a valid integer"),
        (put(True, "version"), "version: Input should be a valid integer"),
        (put("2026-01-01", "created"), "created: String should match"),
        (put("x" * 501, "summary"), "summary: String should have at most 500"),
        (put(None, "summary"), "summary: is null; leave the key out"),
        (put(None, "discriminator"), "discriminator: is null; leave the key out"),
        (put(None, "provenance", "data", "attribution"), "provenance.data.attribution: is null"),
        (put(FILE, "files", "../up.onnx"), "files"),
        (put(FILE, "files", "no_suffix"), "files"),
        (put(FILE, "files", "manifest.json"), "files: lists manifest.json"),
        (put("0" * 63, "files", "generator.onnx", "sha256"), "files.generator.onnx.sha256: String"),
        (put("A" * 64, "files", "generator.onnx", "sha256"), "files.generator.onnx.sha256: String"),
        (put(0, "files", "generator.onnx", "size"), "files.generator.onnx.size: Input should be greater"),
        (put(0, "latent", "size"), "latent.size: Input should be greater"),
        (put("normal", "latent", "prior"), "latent.prior: Input should be 'standard_normal'"),
        (put(["only"], "labels", "names"), "labels.names: Tuple should have at least 2"),
        (put(["a", "a"], "labels", "names"), "labels.names: 'a' stands there twice"),
        (put("film", "sample", "kind"), "sample: Input tag 'film'"),
        (put(2, "sample", "channels"), "sample.channels: Input should be 1 or 3"),
        (put("NHWC", "sample", "layout"), "sample.layout: Input should be 'NCHW'"),
        (put([-1], "sample", "range"), r"sample.range\[1\]: Field required"),
        (put([-1, 0, 1], "sample", "range"), "sample.range: Tuple should have at most 2"),
        (put(16, "generator", "opset"), "generator.opset: Input should be greater"),
        (put([], "generator", "inputs"), "generator.inputs: Tuple should have at least 1"),
        (put("FP64", "generator", "inputs", 0, "datatype"), r"generator.inputs\[0\].datatype: Input should be 'FP32'"),
        (put("noise", "generator", "inputs", 0, "role"), r"generator.inputs\[0\].role: Input should be 'latent'"),
        (put([8, 16], "generator", "inputs", 0, "shape"), r"generator.inputs\[0\].shape: a latent of this package"),
        (put([-1, -1], "generator", "inputs", 0, "shape"), r"shape \[-1, 16\], not \[-1, -1\]"),
        (put(None, *UNKNOWN), "discriminator.unknown_label: is null; leave the key out"),
        (put([], *UNKNOWN, "weights"), "discriminator.unknown_label.weights: Tuple should have at least 2"),
        (put([[0.0] * 65] * 65, *UNKNOWN, "weights"), "discriminator.unknown_label.weights"),
        (put("1", *UNKNOWN, "weights", 0, 0), r"unknown_label.weights\[0\]\[0\]: Input should be a valid"),
        (put([0.0], *UNKNOWN, "offsets"), "discriminator.unknown_label.offsets: Tuple should have at least 2"),
        (put(1.5, *UNKNOWN, "label_accuracy"), "discriminator.unknown_label.label_accuracy: Input should be less"),
        (put(-1, *UNKNOWN, "calibration", "slope"), "unknown_label.calibration.slope: Input should be greater"),
        (put(0, "discriminator", "pack"), "discriminator.pack: Input should be greater"),
        (put("gan", "discriminator", "loss_family"), "discriminator.loss_family: Input should be 'minimax'"),
        (put(1, "discriminator", "batch_coupled"), "discriminator.batch_coupled: Input should be a valid boolean"),
        (put(-0.1, *PLATT, "slope"), "discriminator.calibration.slope: Input should be greater"),
        (put("isotonic", *PLATT, "method"), "discriminator.calibration: Input tag 'isotonic'"),
        (put(1.1, *PLATT, "expected_calibration_error"), "expected_calibration_error: Input should be less"),
        (put([0], "discriminator", "reference_quantiles", "real"), "quantiles.real: Tuple should have at least 2"),
        (put(0, "golden", "count"), "golden.count: Input should be greater"),
        (put([], "golden", "tolerances"), "golden.tolerances: Tuple should have at least 1"),
        (put("fp8", "golden", "tolerances", 0, "precision"), r"golden.tolerances\[0\].precision: Input should be"),
        (put(-1e-5, "golden", "tolerances", 0, "sample"), r"golden.tolerances\[0\].sample: Input should be greater"),
        (put(-1e-5, "golden", "tolerances", 1, "latent"), r"golden.tolerances\[1\].latent: Input should be greater"),
        (put(None, "golden", "tolerances", 1, "code"), r"golden.tolerances\[1\].code: is null; leave the key out"),
        (put("?", "provenance", "config_sha256"), "provenance.config_sha256: String should match"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_damage_that_the_schema_sees_is_refused_by_the_reader_too(
    toy: Object, damage: Callable[[Object], None], words: str
) -> None:
    damaged = copy.deepcopy(toy)
    damage(damaged)
    assert not SCHEMA.is_valid(damaged)
    with pytest.raises(ManifestRefused, match=f"^manifest.json: .*{words}"):
        parse_manifest(json.dumps(damaged).encode())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (put("2026-02-30T00:00:00Z", "created"), "created: 2026-02-30T00:00:00Z is not a moment"),
        (put("other.onnx", "generator", "file"), "generator.file: other.onnx is not listed in files"),
        (put("other.npz", "golden", "file"), "golden.file: other.npz is not listed in files"),
        (put("generator.onnx", "discriminator", "file"), "files.generator.onnx: is used for more than one of"),
        (put([1, -1], "sample", "range"), "sample.range: 1 is not below -1"),
        (put([1, 1], "sample", "range"), "sample.range: 1 is not below 1"),
        (put(17, "latent", "size"), r"generator.inputs\[0\].shape: a latent .* \[-1, 17\], not \[-1, 16\]"),
        (put(9, "sample", "height"), r"generator.outputs\[0\].shape: a sample .* \[-1, 3, 9, 8\], not \[-1, 3, 8, 8\]"),
        (put(2, "discriminator", "pack"), r"discriminator.inputs\[0\].shape: a sample .* \[-1, 6, 8, 8\]"),
        (put("FP32", "generator", "inputs", 1, "datatype"), r"generator.inputs\[1\].datatype: a label .* is INT64"),
        (put("FP16", "generator", "inputs", 0, "datatype"), r"generator.inputs\[0\].datatype: a latent .* is FP32"),
        (put("latent", "generator", "inputs", 1, "name"), "generator: 'latent' names two tensors"),
        (put("latent", "generator", "inputs", 1, "role"), "generator.inputs: 2 tensors have the role latent"),
        (put("code", "generator", "inputs", 1, "role"), "is code, of which the manifest says nothing"),
        (put("logit", "generator", "outputs", 0, "role"), "generator.outputs: holds no tensor of the role sample"),
        (put("latent", "discriminator", "outputs", 0, "role"), "discriminator.outputs: holds no .* role logit"),
        (put("logit", "discriminator", "inputs", 1, "role"), "discriminator.inputs: the role logit does not belong"),
        (swap("generator", "outputs"), "generator.outputs: must be sample and pixels, in this order"),
        (put({"categorical": [], "continuous": []}, "codes"), "codes: states no code"),
        (put({"name": "user", "count": 3}, "condition"), "generator.inputs: holds no condition"),
        (
            put({"categorical": [{"name": "c", "size": 2}] * 2, "continuous": []}, "codes"),
            "codes: 'c' names two codes",
        ),
        (
            put({"categorical": [], "continuous": [{"name": "c", "low": 1, "high": 0}]}, "codes"),
            r"codes.continuous\[0\]: low 1 is not below high 0",
        ),
        (swap("discriminator", "reference_quantiles", "real"), "reference_quantiles.real: does not ascend"),
        (swap("discriminator", "reference_quantiles", "generated"), "reference_quantiles.generated: does not ascend"),
        (swap(*UNKNOWN, "reference_quantiles", "real"), "unknown_label.reference_quantiles.real: does not ascend"),
        (
            put(KNOTS | {"logits": [1, 1]}, *UNKNOWN, "calibration"),
            "unknown_label.calibration.logits: does not ascend strictly",
        ),
        (duplicate(*UNKNOWN, "offsets"), "discriminator.unknown_label.offsets: 11 for 10 classes"),
        (duplicate(*UNKNOWN, "weights"), "discriminator.unknown_label.weights: are not 10 lists of 10"),
        (duplicate(*UNKNOWN, "weights", 3), "discriminator.unknown_label.weights: are not 10 lists of 10"),
        (
            put([{"name": "sample", "datatype": "FP32", "shape": [-1, 3, 8, 8], "role": "sample"}], *JUDGED),
            "discriminator.unknown_label: stands there, although the discriminator takes no label",
        ),
        (put(KNOTS | {"logits": [0, 1, 2]}, *PLATT), "discriminator.calibration: 3 logits for 2 log_odds"),
        (put(KNOTS | {"logits": [1, 0]}, *PLATT), "calibration.logits: does not ascend strictly"),
        (put(KNOTS | {"logits": [1, 1]}, *PLATT), "calibration.logits: does not ascend strictly"),
        (put(KNOTS | {"log_odds": [1, 0]}, *PLATT), "calibration.log_odds: does not ascend"),
        (duplicate("golden", "tolerances"), "golden.tolerances: two for CPUExecutionProvider at fp32"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_contradiction_that_the_schema_cannot_see_is_refused_by_the_reader(
    toy: Object, damage: Callable[[Object], None], words: str
) -> None:
    damaged = copy.deepcopy(toy)
    damage(damaged)
    assert [error.message for error in SCHEMA.iter_errors(damaged)] == []
    with pytest.raises(ManifestRefused, match=f"^manifest.json: .*{words}"):
        parse_manifest(json.dumps(damaged).encode())


def test_knots_are_read_where_there_is_no_line(toy: Object) -> None:
    damaged = copy.deepcopy(toy)
    put(KNOTS, *PLATT)(damaged)
    assert SCHEMA.is_valid(damaged)
    assert reader_accepts(damaged)
