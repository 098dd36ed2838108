"""A package whose graphs do not fit each other, its own manifest or this service is refused before anything runs."""

import json
from pathlib import Path

import pytest

from service.engine.model_spec import GraphKind
from service.errors import GraphRefused, ManifestRefused
from service.packages.manifest import parse_manifest
from service.packages.signatures import check_served
from tests.contract.manifests import Object
from tests.support.toy import write_toy_package
from tests.support.toy_shape import ToyOptions

PLAIN = ToyOptions(encoder=True)
CONDITIONAL = ToyOptions(conditional=True)
CODED = ToyOptions(categorical=(2,), encoder=True)
ITEMS = ToyOptions(kind="item", condition_count=5, pack=2)
PACKED = ToyOptions(pack=2)


def tensor(role: str, datatype: str, *sizes: int) -> Object:
    return {"name": role, "datatype": datatype, "shape": [-1, *sizes], "role": role}


LATENT, SAMPLE, PIXELS = (
    tensor("latent", "FP32", 16),
    tensor("sample", "FP32", 1, 8, 8),
    tensor("pixels", "UINT8", 8, 8, 1),
)
LABEL, CODE, USER = tensor("label", "INT64"), tensor("code", "FP32", 2), tensor("condition", "INT64")
LOGIT, ITEM, NOISE = tensor("logit", "FP32"), tensor("sample", "INT64"), tensor("latent", "FP32", 12)


def stated(folder: Path, options: ToyOptions, kind: GraphKind, inputs: list[Object], outputs: list[Object]) -> bytes:
    """The manifest of a toy, one of whose graphs is said to have other tensors."""
    manifest = json.loads((write_toy_package(folder, **options) / "manifest.json").read_text())
    manifest[kind] |= {"inputs": inputs, "outputs": outputs}
    return json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("options", "inputs", "outputs", "complaint"),
    [
        (PLAIN, [LATENT, LOGIT], [SAMPLE, PIXELS], "inputs: the role logit does not belong here"),
        (PLAIN, [LATENT, CODE], [SAMPLE, PIXELS], r"inputs\[1\].role: is code, of which the manifest says nothing"),
        (PLAIN, [LATENT, USER], [SAMPLE, PIXELS], r"inputs\[1\].role: is condition, of which the manifest"),
        (PLAIN, [LATENT, LABEL], [SAMPLE, PIXELS], r"inputs\[1\].role: is label, of which the manifest says nothing"),
        (CODED, [LATENT], [SAMPLE, PIXELS], "inputs: holds no code, although the manifest describes it"),
        (CONDITIONAL, [LATENT], [SAMPLE, PIXELS], "inputs: holds no label, although the manifest describes it"),
        (ITEMS, [NOISE], [ITEM], "inputs: holds no condition, although the manifest describes it"),
        (CODED, [LATENT, tensor("code", "FP32", 3)], [SAMPLE, PIXELS], r"shape: a code .* \[-1, 2\], not \[-1, 3\]"),
        (CONDITIONAL, [LATENT, tensor("label", "INT64", 10)], [SAMPLE, PIXELS], r"label .* \[-1\], not \[-1, 10\]"),
        (ITEMS, [NOISE, USER], [tensor("sample", "FP32")], "datatype: a sample of this package is INT64, not FP32"),
        (ITEMS, [NOISE, USER], [tensor("sample", "INT64", 1)], r"sample .* has shape \[-1\], not \[-1, 1\]"),
        (PLAIN, [LATENT], [tensor("sample", "INT64", 1, 8, 8), PIXELS], "a sample of this package is FP32, not INT64"),
        (PLAIN, [LATENT, LATENT | {"name": "other"}], [SAMPLE, PIXELS], "inputs: 2 tensors have the role latent"),
        (PLAIN, [], [SAMPLE, PIXELS], "inputs: Tuple should have at least 1"),
        (PLAIN, [tensor("latent", "FP32", 5)], [SAMPLE, PIXELS], r"latent .* \[-1, 16\], not \[-1, 5\]"),
        (PLAIN, [tensor("latent", "INT64", 16)], [SAMPLE, PIXELS], "latent of this package is FP32, not INT64"),
        (PLAIN, [LATENT], [PIXELS], "outputs: holds no tensor of the role sample"),
        (PLAIN, [LATENT], [SAMPLE], "outputs: must be sample and pixels, in this order; are sample"),
        (PLAIN, [LATENT], [SAMPLE, tensor("pixels", "UINT8", 1, 8, 8)], r"pixels .* not \[-1, 1, 8, 8\]"),
    ],
)
def test_a_generator_that_does_not_fit_is_refused(
    tmp_path: Path, options: ToyOptions, inputs: list[Object], outputs: list[Object], complaint: str
) -> None:
    with pytest.raises(ManifestRefused, match=rf"^manifest.json: generator\..*{complaint}"):
        parse_manifest(stated(tmp_path, options, "generator", inputs, outputs))


@pytest.mark.parametrize(
    ("options", "kind", "inputs", "outputs", "complaint"),
    [
        (PLAIN, "discriminator", [LATENT], [LOGIT], "inputs: holds no tensor of the role sample"),
        (PLAIN, "discriminator", [tensor("sample", "FP32", 3, 8, 8)], [LOGIT], r"sample .* not \[-1, 3, 8, 8\]"),
        (PACKED, "discriminator", [SAMPLE], [LOGIT], r"sample .* has shape \[-1, 2, 8, 8\], not \[-1, 1, 8, 8\]"),
        (PLAIN, "discriminator", [SAMPLE, LABEL], [LOGIT], "is label, of which the manifest says nothing"),
        (ITEMS, "discriminator", [tensor("sample", "INT64", 3), USER], [LOGIT], r"\[-1, 2\], not \[-1, 3\]"),
        (CONDITIONAL, "discriminator", [SAMPLE, tensor("label", "INT64", 1)], [LOGIT], r"label .* not \[-1, 1\]"),
        (PLAIN, "discriminator", [SAMPLE], [tensor("logit", "FP32", 1)], r"logit .* \[-1\], not \[-1, 1\]"),
        (CODED, "encoder", [LATENT], [CODE], "inputs: holds no tensor of the role sample"),
        (CODED, "encoder", [SAMPLE], [tensor("code", "FP32", 3)], r"code .* not \[-1, 3\]"),
        (CODED, "encoder", [SAMPLE], [tensor("latent", "FP32", 3)], r"latent .* \[-1, 16\], not \[-1, 3\]"),
        (CODED, "encoder", [tensor("sample", "FP32", 3, 8, 8)], [CODE], r"sample .* not \[-1, 3, 8, 8\]"),
        (PLAIN, "encoder", [SAMPLE], [CODE], "is code, of which the manifest says nothing"),
        (PLAIN, "encoder", [SAMPLE, USER], [LATENT], "is condition, of which the manifest says nothing"),
    ],
)  # fmt: skip
def test_a_graph_that_does_not_fit_the_generators_samples_is_refused(
    tmp_path: Path, options: ToyOptions, kind: GraphKind, inputs: list[Object], outputs: list[Object], complaint: str
) -> None:
    with pytest.raises(ManifestRefused, match=rf"^manifest.json: {kind}\..*{complaint}"):
        parse_manifest(stated(tmp_path, options, kind, inputs, outputs))


@pytest.mark.parametrize(
    ("options", "kind", "inputs", "outputs", "complaint"),
    [
        (PLAIN, "discriminator", [SAMPLE, LATENT], [LOGIT], "takes sample, latent; .* condition, label, sample, once"),
        (CODED, "discriminator", [SAMPLE, CODE], [LOGIT], "takes sample, code; .* condition, label, sample, once"),
        (CODED, "discriminator", [SAMPLE], [LOGIT, CODE], "makes logit, code; this service knows logit"),
        (CONDITIONAL | PLAIN, "encoder", [SAMPLE], [LABEL], "encoder makes label; this service knows code, latent"),
    ],
)  # fmt: skip
def test_a_valid_graph_with_a_tensor_that_the_service_does_not_compute_with_is_refused(
    tmp_path: Path, options: ToyOptions, kind: GraphKind, inputs: list[Object], outputs: list[Object], complaint: str
) -> None:
    graph = parse_manifest(stated(tmp_path, options, kind, inputs, outputs)).graphs[kind]
    with pytest.raises(GraphRefused, match=complaint):
        check_served(kind, graph)
