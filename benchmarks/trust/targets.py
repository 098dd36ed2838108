"""What is fuzzed in this process: the service's readers of untrusted bytes, each with its valid inputs and its errors.

Anything but a result or a declared error is a finding. Inputs of readers that need headers begin with them, as in
HTTP. The vetting child's rules (`onnx`) are read here without its sandbox; what kills that child is a refusal by
design, so its run of the graph is left out.
"""

import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from benchmarks.trust import structures
from benchmarks.trust.inputs import MEBIBYTE, Mutation, Target, plain
from benchmarks.workplace import ROOT
from service.api.requests.body import read_files, read_json
from service.api.requests.generate import plan_generate
from service.api.requests.samples import read_samples
from service.api.sample_types import kind_of
from service.api.schemas.requests import GenerateRequest, SamplesQuery
from service.api.v2.infer import read_inference
from service.api.v2.models import ServedGraph
from service.engine.model_spec import Capabilities, CodeSpec, GraphReport, LoadReport
from service.errors import PackageError, RequestError
from service.media.decoders import decode_base64, decode_image, decode_npy
from service.media.negotiation import choose
from service.packages.manifest import parse_manifest
from service.packages.package import Package, read_golden, read_package
from service.packages.registry import ServedPackage
from service.settings import Settings

# Frozen packages of the format's contract.
PACKAGES: Final = ROOT / "tests" / "contract" / "packages" / "v1"
SHAPES: Final = ((6, 4, 1), (5, 7, 3))  # (H, W, C) of two models
SETTINGS: Final = Settings(max_body_bytes=MEBIBYTE)


def image_files(form: str, **options: object) -> list[bytes]:
    """Images of both models' sizes, and one of another, with and without metadata."""
    chance = np.random.default_rng(0)
    files = []
    for height, width, channels in (*SHAPES, (8, 8, 3)):
        pixels = chance.integers(0, 256, (height, width, channels), np.uint8).squeeze()
        for exif in (b"", _turned()):
            written = io.BytesIO()
            Image.fromarray(pixels).save(written, form, exif=exif, **options)
            files.append(written.getvalue())
    return files


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    return exif.tobytes()


def _decode(content: bytes) -> None:
    """As each of two models does; the second reads only what the first refuses for its size or colours."""
    try:
        decode_image(content, SHAPES[0], SETTINGS.max_image_pixels)
    except RequestError:
        decode_image(content, SHAPES[1], SETTINGS.max_image_pixels)


def _images(form: str, own: Mutation, **options: object) -> Target:
    return Target(seeds=image_files(form, **options), declared=(RequestError,), own=(own,), opened=plain(_decode))


def _webp() -> Target:
    lossless = _images("WEBP", structures.riff, lossless=True)
    return Target(
        seeds=[*lossless.seeds, *image_files("WEBP")],
        declared=lossless.declared, own=lossless.own, opened=lossless.opened,
    )  # fmt: skip


def array_file(array: NDArray[Any]) -> bytes:
    """An array as an NPY file."""
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def _npy() -> Target:
    expected: Mapping[str, tuple[int, ...]] = {"|u1": (6, 4, 1), "<f4": (1, 6, 4), "<i8": (1,)}
    samples = np.ones((2, 1, 6, 4), np.float32)
    arrays: list[NDArray[Any]] = [np.zeros((2, 6, 4, 1), np.uint8), samples, np.arange(3).reshape(3, 1)]
    return Target(
        seeds=[array_file(array) for array in (*arrays, np.asfortranarray(samples))],
        declared=(RequestError,), own=(structures.npy,), opened=plain(lambda content: decode_npy(content, expected)),
    )  # fmt: skip


@dataclass(frozen=True)
class Fixture:
    """A frozen package as the service has it after loading, with a report that no session had to make."""

    name: str
    files: Package = field(init=False)
    served: ServedPackage = field(init=False)

    def __post_init__(self) -> None:
        (folder,) = (PACKAGES / self.name).iterdir()
        package = read_package(folder)
        manifest = package.manifest
        report = GraphReport(
            provider="CPUExecutionProvider", buckets=(1, 2, 4), reproducible=True, largest_deviation=0.0,
            golden_deviation=0.0, fingerprint="0" * 64, runtime="onnxruntime", precision="fp32", pixel_difference=None,
        )  # fmt: skip
        sample = kind_of(manifest.sample)
        codes = manifest.codes
        capabilities = Capabilities(
            latent_size=manifest.latent.size, prior=manifest.latent.prior,
            label_count=len(manifest.labels.names) if manifest.labels else None,
            codes=CodeSpec(codes.sizes, codes.bounds) if codes else None,
            condition_count=None, item_count=None, sample_shape=sample.row(raw_values=True)[0],
            pixels_shape=sample.row(raw_values=False)[0], discriminator_conditioning=frozenset(),
            encoder_conditioning=frozenset(), largest_group=None,
        )  # fmt: skip
        reports = dict.fromkeys(manifest.graphs, report)
        loaded = LoadReport(
            reports["generator"], reports.get("discriminator"), reports.get("encoder"), 0.0, capabilities
        )
        object.__setattr__(self, "files", package)
        object.__setattr__(self, "served", ServedPackage.of(package.key, manifest, package.sha256, loaded))


def _generate() -> Target:
    known = {name: Fixture(name).served for name in ("codes", "conditional")}
    media = choose(None, "npy")

    def read(content: bytes) -> None:
        wanted = read_json(GenerateRequest, content, {})
        package = known.get(wanted.model or "", known["codes"])
        plan = plan_generate(wanted, package, kind_of(package.manifest.sample), media, None, SETTINGS)
        next(plan.chunks())

    return Target(
        seeds=[json.dumps(body).encode() for body in GENERATE_BODIES],
        declared=(RequestError,), own=(structures.value,), opened=plain(read),
    )  # fmt: skip


GENERATE_BODIES: Final[tuple[Mapping[str, object], ...]] = (
    {},
    {"n": 3, "seed": 7},
    {"seeds": "0-15,99", "scores": True},
    {"seeds": [1, 2, 2**53], "sampler": "numpy-legacy", "version": "1"},
    {"model": "conditional", "n": 2, "label": 1, "truncation": 0.7},
    {"model": "conditional", "n": 2, "labels": [0, "1"], "seed": 3},
    {"model": "codes", "n": 2, "codes": {"kind_0": 2, "number_0": 0.5}},
    {"model": "codes", "n": 2, "codes": [{"kind_0": 2}, {"number_1": 1.5}], "seed": 1},
    {"latents": [[0.1, -0.2, 0.3, 0.4]]},
    {"model": "conditional", "interpolate": {"from": 7, "to": 8, "steps": 16, "path": "slerp"}},
    {"seed": 7, "select": {"method": "rejection", "candidates": 8, "gamma": 0.5}},
    {"seed": 7, "select": {"method": "best-of"}},
    {"seed": 7, "condition": [1, 2]},
)


def head_of(content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers, names in lower case, and the body behind them."""
    head, _, body = content.partition(structures.HEAD_END)
    lines = (line.decode("latin-1").partition(":") for line in head.split(b"\r\n"))
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}, body


def with_head(body: bytes, **headers: str) -> bytes:
    """A body behind its headers, `_` in their names for `-`."""
    lines = [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join((*lines, b"content-length: %d" % len(body))) + structures.HEAD_END + body


def form(*files: bytes, boundary: str = "b0") -> bytes:
    """A form of files, behind its headers."""
    head = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    parts = [b"--%b\r\n%b%b\r\n" % (boundary.encode(), head, each) for each in files]
    body = b"".join((*parts, b"--%b--\r\n" % boundary.encode()))
    return with_head(body, content_type=f"multipart/form-data; boundary={boundary}")


def _multipart() -> Target:
    files = image_files("PNG")[:2]

    def read(content: bytes) -> None:
        headers, body = head_of(content)
        read_files(body, headers.get("content-type", ""), 8)

    own = (structures.head, structures.behind(lambda *given: structures.mutate_bytes(*given[:2])))
    return Target(
        seeds=[form(*files), form(files[0], boundary="-" * 20), form(b"")],
        declared=(RequestError,), own=own, opened=plain(read),
    )  # fmt: skip


def _samples() -> Target:
    image = json.dumps({"images": ["iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="], "label": "1"}).encode()
    numbers = json.dumps({"model": "plain", "samples": [[0.5] * 24, [-1] * 24], "labels": [0, 1]}).encode()

    def read(content: bytes) -> None:
        headers, body = head_of(content)
        queried = QueryParams(headers.get("query", ""))
        try:
            query = SamplesQuery.model_validate({key: queried.getlist(key) for key in queried})
        except ValidationError:  # which FastAPI answers
            query = SamplesQuery()
        given = read_samples(body, headers, query, 8)
        for file in getattr(given.samples, "files", ()):
            if isinstance(file, str):
                decode_base64(file)

    return Target(
        seeds=[
            with_head(image, content_type="application/json"),
            with_head(numbers, content_type="application/json; charset=utf-8"),
            with_head(image_files("PNG")[0], content_type="image/png", query="label=1&condition=3"),
            form(image_files("PNG")[0]),
        ],
        declared=(RequestError,), own=(structures.head, structures.behind(structures.value)), opened=plain(read),
    )  # fmt: skip


def inference_bodies() -> list[bytes]:
    """Requests of the Open Inference Protocol to `codes`: JSON, binary, compressed, raw, seeds."""
    latent, code = np.zeros((2, 4), np.float32), np.ones((2, 7), np.float32)
    inputs = [
        {"name": name, "datatype": "FP32", "shape": list(rows.shape)}
        for name, rows in (("latent", latent), ("code", code))
    ]
    given = [{**each, "data": rows.tolist()} for each, rows in zip(inputs, (latent, code), strict=True)]
    asked = json.dumps({"id": "x", "inputs": given, "outputs": [{"name": "pixels"}]}).encode()
    sized = [
        {**each, "parameters": {"binary_data_size": rows.nbytes}}
        for each, rows in zip(inputs, (latent, code), strict=True)
    ]
    text = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True, "timeout": 10**7}}).encode()
    binary = {"content_type": "application/octet-stream", "inference_header_content_length": str(len(text))}
    seeded = json.dumps({"model_name": "codes", "inputs": [], "parameters": {"seed": 7, "n": 3}}).encode()
    return [
        with_head(asked, content_type="application/json"),
        with_head(text + latent.tobytes() + code.tobytes(), **binary),
        with_head(seeded, content_type="application/json"),
        with_head(zlib.compress(asked), content_encoding="deflate"),
        with_head(latent[:1].tobytes(), inference_header_content_length="0"),
    ]


def _inference() -> Target:
    package = Fixture("codes").served
    graph = ServedGraph(package, "generator", package.manifest.generator, package.report.generator)

    def read(content: bytes) -> None:
        headers, body = head_of(content)
        read_inference(body, headers, graph, SETTINGS)

    return Target(
        seeds=inference_bodies(), declared=(RequestError,), own=(structures.tensors, structures.head),
        opened=plain(read),
    )  # fmt: skip


def _manifest() -> Target:
    files = sorted(PACKAGES.glob("*/*/manifest.json"))
    return Target(
        seeds=[path.read_bytes() for path in files], declared=(PackageError,), own=(structures.value,),
        opened=plain(parse_manifest),
    )  # fmt: skip


def _zip() -> Target:
    package = Fixture("plain").files
    (path,) = (PACKAGES / "plain").glob("*/golden.npz")
    return Target(
        seeds=[path.read_bytes()], declared=(PackageError,), own=(structures.entries,),
        opened=plain(lambda content: read_golden(content, package.manifest)),
    )  # fmt: skip


def _onnx() -> Target:
    # Imported here: no other target needs onnx.
    from service.engine.model_spec import TensorSpec  # noqa: PLC0415
    from service.packages.vetting import rules  # noqa: PLC0415
    from service.packages.vetting.batch_axis import check_scores  # noqa: PLC0415
    from service.packages.vetting.tensor_sizes import check_counts, check_sizes  # noqa: PLC0415

    folders = [path.parent for path in sorted(PACKAGES.glob("*/*/manifest.json"))]
    graphs = [
        (graph, folder / graph.file)
        for folder in folders
        for graph in parse_manifest((folder / "manifest.json").read_bytes()).graphs.values()
    ]
    graph = graphs[0][0]
    inputs, outputs = (
        tuple(TensorSpec(**each.model_dump()) for each in tensors) for tensors in (graph.inputs, graph.outputs)
    )

    def read(content: bytes) -> None:
        model = rules.parse(content)
        rules.check_model(model, graph.opset)
        rules.check_nodes(model.graph.node)
        rules.check_weights(model.graph)
        inferred = rules.infer(content)
        check_counts(inferred)
        check_sizes(model, batch_coupled=False)
        check_scores(inferred)
        rules.check_tensors("input", inferred.input, inputs)
        rules.check_tensors("output", inferred.output, outputs)

    return Target(
        seeds=[path.read_bytes() for _, path in graphs], declared=(PackageError, MemoryError),
        own=(structures.protobuf,), opened=plain(read), memory_bytes=256 * MEBIBYTE, seconds=5.0,
    )  # fmt: skip


# name: how it is made, which imports what it needs; and its part of all inputs.
TARGETS: Final[Mapping[str, tuple[Callable[[], Target], int]]] = {
    "png": (lambda: _images("PNG", structures.png), 12),
    "jpeg": (lambda: _images("JPEG", structures.jpeg), 12),
    "webp": (_webp, 12),
    "npy": (_npy, 12),
    "zip": (_zip, 6),
    "generate": (_generate, 10),
    "samples": (_samples, 10),
    "multipart": (_multipart, 8),
    "v2": (_inference, 10),
    "manifest": (_manifest, 6),
    "onnx": (_onnx, 2),
}
