"""The service's settings, read from GANYMEDE_… environment variables; docs/configuration.md is generated from them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

import annotated_types
from pydantic import ByteSize, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024
# Scheme, host and port, in the form in which browsers send it.
ORIGIN: Final = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")

# A prefix of paths as proxies have it: whole segments, none of which is `.` or `..`, and no slash at the end.
ROOT_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")

# As a package is called, and as Kubernetes calls a service.
MODEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

PREFIX: Final = "GANYMEDE_"
# First field of each section of the reference → its title.
SECTIONS: Final[Mapping[str, str]] = {
    "host": "Listening",
    "models_dir": "Packages",
    "device": "Computing",
    "queue_samples": "Queue and deadlines",
    "max_body_bytes": "Bodies and connections",
    "max_image_pixels": "Requests",
    "cache_dir": "Vetting",
    "log_format": "Logs",
}
UNITS: Final[Mapping[str, str]] = {
    "s": "seconds",
    "ms": "milliseconds",
    "bytes": "bytes",
    "samples": "samples",
    "pixels": "pixels",
    "images": "images",
    "threads": "threads",
    "connections": "connections",
    "requests": "requests",
    "workers": "processes",
    "budget": "bytes, or with a unit as in `512MB` and `2GiB`",
    "dir": "folder",
    "file": "file",
}
BOUNDS: Final[Mapping[str, str]] = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
REFERENCE_HEAD: Final = """\
# Configuration

`python -m service` reads its settings from environment variables. An empty variable means the default. A variable that
begins with `GANYMEDE_` and is none of these is logged as a warning with the nearest name; an invalid value ends the
program with exit code 2 and one sentence. Traces have OpenTelemetry's own variables
([operations.md](operations.md#traces)). This page is generated from the code: `python -m service settings`."""

Control = Literal["loopback", "key", "anyone", "nobody"]


class Settings(BaseSettings):
    """Everything an operator may set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # compose writes an unset ${X:-} as empty; an empty host would be every interface
        frozen=True,
        extra="forbid",
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one and logs it")
    allowed_hosts: str = Field(
        "",
        description="comma-separated names that the header Host may have beside addresses and names without a dot, "
        "`*.NAME` for those below one, `*` for all; empty allows all, but none where the service listens on loopback",
    )
    root_path: str = Field(
        "",
        description="prefix that a proxy leaves before every path, as in `/gan`; paths without it are answered too; "
        "empty where the proxy removes it, or there is none",
    )
    keys_file: str = Field(
        "",
        description="file of the keys that callers need, read again when it changes; `python -m service key NAME` "
        "makes one; empty answers everyone",
    )
    without_keys: str = Field(
        "",
        description="`anyone-may-use-it` listens on an address that others reach without asking for keys, which is "
        "refused else; `published-on-127.0.0.1` says the same of a container whose port is published on loopback alone",
    )
    playground: Literal["off", "on"] = Field(
        "on", description="`on` answers `/` with a page to look at samples; `off` with 404"
    )
    docs: Literal["off", "on"] = Field("on", description="`on` answers `/docs` and `/openapi.json`; `off` with 404")
    metrics: Literal["on", "key", "off"] = Field(
        "on", description="`on` answers `/metrics` without a key, `key` only with one, `off` with 404"
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of its own for `/metrics`, which then is not on the other; 0 has none",
    )
    cors_origins: str = Field(
        "",
        description="comma-separated origins whose pages may read answers, as in `https://app.example`, `*` for all; "
        "empty for none but the service's own",
    )
    api_workers: int = Field(
        0,
        ge=0,
        le=256,
        description="processes that answer HTTP, in front of one that computes; 0 and 1 do both in one process",
    )
    models_dir: Path | str = Field(
        Path("models"),
        description="folder of packages, NAME/VERSION/manifest.json, or of one package, manifest.json; or where such a "
        "folder is in object storage, as in `s3://bucket/models`, `gs://…` and `hf://…` (the extra `storage`)",
    )
    default_model: str = Field(
        "mnist",
        description="package that answers when a request names none; where the folder is one package and this is not "
        "set, that package",
    )
    model_alias: str = Field(
        "",
        description="another name under which the default model answers requests, unless there is a package of this "
        "name; answers, lists, metrics and logs have its own",
    )
    load_models: str = Field("", description="comma-separated names to load; empty loads every package in the folder")
    rescan_interval_s: float = Field(
        5.0, ge=0, description="seconds between looks for packages that came or went; 0 looks at the start only"
    )
    memory_budget: ByteSize = Field(
        ByteSize(0),
        ge=0,
        description="memory that packages may take together; beyond it the least recently used are unloaded and loaded "
        "again on demand, the default and those named in `GANYMEDE_LOAD_MODELS` never; 0 is no limit",
    )
    repository_control: Control = Field(
        "loopback",
        description="who may load and unload models over HTTP: programs on this host, admin keys from anywhere, "
        "anyone, nobody; where there are keys, an admin key is needed in any case",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes CUDA where it works, else the CPU; `cuda` refuses to start without it"
    )
    backend: Literal["onnxruntime", "openvino"] = Field(
        "onnxruntime", description="what computes: `onnxruntime`, or `openvino` (the extra of that name), on the CPU"
    )
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32", description="of image generators under OpenVINO: `fp32`, or `bf16` or `fp16` where the CPU has them"
    )
    model_threads: int = Field(
        0, ge=0, le=256, description="cores that models compute on; 0 takes those that this process may use"
    )
    reproducibility: Literal["strict", "fast"] = Field(
        "strict", description="`strict` uses only batch sizes proven bitwise equal; `fast` uses all of them"
    )
    max_batch_samples: int = Field(
        0, ge=0, le=4096, description="most samples in one session run; 0 takes 64 on the CPU and 256 on CUDA"
    )
    device_slots: int = Field(
        2,
        ge=1,
        le=2,
        description="batches of a graph in work at a time on CUDA: with 2 the next one is prepared while one runs; the "
        "CPU runs one a core",
    )
    device_binding: Literal["off", "on"] = Field(
        "off", description="`on` runs graphs on CUDA through tensors that stay in its memory, where the bytes are equal"
    )
    device_graph: Literal["off", "on"] = Field(
        "off", description="`on` captures those runs as CUDA graphs, where the bytes are equal; needs the binding"
    )
    device_pinned: Literal["off", "on"] = Field(
        "off", description="`on` has outputs of those runs come through pinned memory; needs the binding"
    )
    queue_samples: int = Field(16_384, ge=1, description="most samples waiting for one graph; more is answered 429")
    request_queue_samples: int = Field(
        1_024, ge=1, description="most samples that one request holds in the queue at a time"
    )
    queue_wait_s: float = Field(
        5.0, gt=0, description="longest expected wait for a graph, in seconds; what would wait longer is answered 429"
    )
    timeout_ms: int = Field(30_000, ge=1, description="deadline of a request that sends no X-Timeout-Ms")
    drain_timeout_s: float = Field(30.0, ge=0, description="seconds that SIGTERM leaves for what is being answered")
    drift_share: float = Field(
        0.005,
        ge=0,
        le=0.5,
        description="share of the time in which idle moments may score a few of the samples that callers were given, "
        "for the gauges of drift; 0 scores none",
    )
    max_body_bytes: int = Field(16 * MEBIBYTE, ge=1024, description="largest request body; more is answered 413")
    max_bodies_bytes: int = Field(
        256 * MEBIBYTE,
        ge=1024,
        description="what the bodies of all requests may hold together; the largest that still arrives is answered 503",
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="seconds the headers of a request may take to arrive; then 408"
    )
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        description="seconds a request body may take to arrive; then 408, and sooner if beyond the time of headers it "
        "brings less than 1 KiB a second",
    )
    write_timeout_s: float = Field(
        60.0, gt=0, description="seconds that a client may take nothing of its answer; then the connection is closed"
    )
    max_connections: int = Field(4_096, ge=1, description="most open connections; one more is answered 503 and closed")
    max_requests: int = Field(
        1_024, ge=1, description="most requests being answered at a time, probes aside; more is answered 429"
    )
    max_image_pixels: int = Field(
        16_000_000, ge=1, description="largest image to decode, in pixels, checked on its header; more is answered 413"
    )
    max_score_images: int = Field(
        1_024, ge=1, description="most samples in one /score, /encode or /reconstruct request"
    )
    max_samples: int = Field(4_096, ge=1, description="most samples in one JSON, image or given-latents request")
    max_streamed_samples: int = Field(
        50_000,
        ge=1,
        description="most samples in one NPY or ZIP request, and most candidates that one request selects among",
    )
    encoder_threads: int = Field(2, ge=1, le=64, description="threads that write and read PNG, JPEG and ZIP")
    cache_dir: Path = Field(
        Path("~/.cache/ganymede"),
        description="private folder that remembers which graphs passed their vetting, and has the packages that came "
        "from object storage; unusable, graphs are vetted anew",
    )
    vetting_timeout_s: float = Field(60.0, gt=0, description="seconds the child process that vets a package may take")
    vetting_memory_bytes: int = Field(
        4096 * MEBIBYTE, ge=256 * MEBIBYTE, description="address space of the child process that vets a package"
    )
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line to write")

    @field_validator("port", mode="before")
    @classmethod
    def _port_is_no_service_link(cls, port: object) -> object:
        if isinstance(port, str) and "://" in port:
            raise ValueError(
                "is what Kubernetes sets in the pods beside a Service called ganymede; give the Service another name, "
                "or set enableServiceLinks: false"
            )
        return port

    @field_validator("root_path")
    @classmethod
    def _root_path_is_a_prefix(cls, root_path: str) -> str:
        if root_path and not ROOT_PATH.fullmatch(root_path):
            raise ValueError(f"{root_path} is no prefix of paths; write it as in /gan, with no slash at its end")
        return root_path

    @field_validator("models_dir", mode="before")
    @classmethod
    def _folder_is_a_path(cls, folder: object) -> object:
        return Path(folder) if isinstance(folder, str) and "://" not in folder else folder

    @field_validator("metrics")
    @classmethod
    def _metrics_key_has_its_file(cls, metrics: str, known: ValidationInfo) -> str:
        if metrics == "key" and not known.data.get("keys_file"):
            raise ValueError("needs GANYMEDE_KEYS_FILE, since without keys no caller has one")
        return metrics

    @field_validator("metrics_port")
    @classmethod
    def _metrics_port_is_another(cls, port: int, known: ValidationInfo) -> int:
        if port and port == known.data.get("port"):
            raise ValueError("is the service's own port; choose another, or 0")
        return port

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, listed: str) -> str:
        origins = [each.strip() for each in listed.split(",") if each.strip()]
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin; write them as browsers do: https://app.example")
        return ",".join(origins)

    @field_validator("model_alias")
    @classmethod
    def _alias_is_a_name(cls, alias: str) -> str:
        if alias and not MODEL_NAME.fullmatch(alias):
            raise ValueError(f"{alias} is no name of a model; it has lower-case letters, digits, _ and -, 64 at most")
        return alias

    @field_validator("repository_control")
    @classmethod
    def _key_has_its_file(cls, control: Control, known: ValidationInfo) -> Control:
        if control == "key" and not known.data.get("keys_file"):
            raise ValueError("needs GANYMEDE_KEYS_FILE, since without keys no caller has one")
        return control

    @field_validator("precision")
    @classmethod
    def _precision_has_its_backend(cls, precision: str, known: ValidationInfo) -> str:
        if precision != "fp32" and known.data.get("backend") != "openvino":
            raise ValueError("needs the backend openvino, since ONNX Runtime computes as the graph was exported")
        return precision

    @field_validator("device_graph")
    @classmethod
    def _graph_has_its_binding(cls, graph: str, known: ValidationInfo) -> str:
        if graph == "on" and known.data.get("device_binding") != "on":
            raise ValueError("needs GANYMEDE_DEVICE_BINDING=on, since a CUDA graph is replayed with bound tensors")
        return graph

    @field_validator("device_pinned")
    @classmethod
    def _pinned_memory_has_its_binding(cls, pinned: str, known: ValidationInfo) -> str:
        if pinned == "on" and known.data.get("device_binding") != "on":
            raise ValueError("needs GANYMEDE_DEVICE_BINDING=on, since only bound outputs are fetched through it")
        return pinned


def reference() -> Iterator[str]:
    """Yield the lines of `docs/configuration.md`: every setting with its default and its values."""
    yield REFERENCE_HEAD
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            yield f"\n## {SECTIONS[name]}\n"
            yield "| variable | default | values | meaning |"
            yield "| --- | --- | --- | --- |"
        default = str(field.get_default())
        shown = f"`{default}`" if default else "empty"
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {_values(name, field)} | {field.description} |"


def _values(name: str, field: FieldInfo) -> str:
    """The unit and the range of a setting, or its choices."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    bounds = [
        f"{sign} {getattr(bound, kind):,}"
        for bound in field.metadata
        for kind, sign in BOUNDS.items()
        if isinstance(bound, getattr(annotated_types, kind.capitalize()))
    ]
    unit = UNITS.get(name.rpartition("_")[2], "text" if field.annotation is str else "number")
    return ", ".join([unit, *bounds])
