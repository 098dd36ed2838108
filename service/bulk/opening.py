"""Begins a bulk run, or goes on with one: what is asked for and what the folder's plan says become one plan."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from pydantic import JsonValue

from service.api.requests.body import validate_json
from service.api.requests.fields import QUERY, read_labels
from service.api.sample_types import DtypeName
from service.api.schemas.requests import GenerateRequest
from service.api.stack import stack_id
from service.app import open_engine
from service.bulk.drawing import Drawing
from service.bulk.folder import BulkFolder
from service.bulk.plan import DEFAULT_SHARD_SIZE, PLAN, BulkRefused, Plan, ShardFormat
from service.engine.core.engine import LocalEngine
from service.engine.model_spec import PackageKey
from service.metrics import Telemetry
from service.packages.registry import ServedPackage
from service.packages.repository.loader import Loader
from service.packages.repository.mirror import Mirror
from service.packages.repository.scan import Found, LoadPolicy, find_packages
from service.packages.repository.store import without_secrets
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits
from service.settings import Settings

STOP_S: Final = 5.0  # for an engine without jobs
# Fields of a request that say which samples and whose, which the plan says in fields of its own.
OF_SAMPLES: Final = frozenset({"n", "seed", "seeds", "latents", "interpolate", "labels"})
OF_PACKAGE: Final = frozenset({"model", "version"})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for; what is None is as in the folder's plan, and where there is none, a default.

    Attributes:
        n: number of samples.
        seed: of the first.
        request: the body of a POST /generate, without the fields that say which samples.
        model: wins over the body's, and so does `label`.
        format: of the shards.
        dtype: of NPY shards of images.
        shard_size: samples in each shard but the last.
    """

    n: int | None = None
    seed: int | None = None
    request: dict[str, JsonValue] | None = None
    model: str | None = None
    label: str | None = None
    format: ShardFormat | None = None
    dtype: DtypeName | None = None
    shard_size: int | None = None

    def completed(self, there: Plan | None) -> "Wanted":
        """Fill in what is not asked for.

        Raises:
            BulkRefused: how many samples is nowhere said.
        """
        if there is None:
            base = Wanted(seed=0, format="npy", shard_size=DEFAULT_SHARD_SIZE, request={})
        else:
            base = Wanted(
                n=there.n,
                seed=there.first_seed,
                request={"model": there.model, "version": str(there.version), **there.request},
                format=there.format,
                dtype=there.dtype,
                shard_size=there.shard_size,
            )
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(base, **{name: value for name, value in given.items() if value is not None})

    def body(self) -> GenerateRequest:
        """The request, validated as POST /generate does.

        Raises:
            RequestError: it is not valid.
            BulkRefused: it has a field that says which samples.
        """
        given = dict(self.request or {})
        for field in sorted(given.keys() & OF_SAMPLES):
            instead = "--label" if field == "labels" else "--n and --seed"
            raise BulkRefused(f"--parameters: `{field}` is not taken here, where {instead} say what each sample is")
        for field in sorted(name for name, value in given.items() if isinstance(value, list)):
            raise BulkRefused(f"--parameters: `{field}` is the same for all samples here, so it is no list")
        if self.model is not None and self.model != given.get("model"):
            given = {name: value for name, value in given.items() if name not in OF_PACKAGE} | {"model": self.model}
        if self.label is not None:
            given["label"] = self.label
        return validate_json(GenerateRequest, json.dumps(given).encode())


@asynccontextmanager
async def open_drawing(
    settings: Settings,
    folder: BulkFolder,
    wanted: Wanted = Wanted(),
) -> AsyncIterator[tuple[Plan, Drawing]]:
    """Load the package of a run, and write its plan where there is none.

    Args:
        settings: of the service: where packages are, and how they are computed.
        folder: of the run.
        wanted: nothing at all goes on as the plan says.

    Raises:
        BulkRefused: there is another plan, or no such package.
        RequestError: the request is not valid, or not for this package.
        PackageError: the package is refused.
        OSError: the folder cannot be written.
    """
    there = folder.read_plan()
    wanted = wanted.completed(there)
    if wanted.n is None:
        raise BulkRefused(f"{folder.path} has no {PLAN} yet: say with --n how many samples to draw")
    request = wanted.body()
    telemetry = Telemetry(CollectorRegistry())
    engine = open_engine(settings, telemetry)
    drawing = None
    try:
        package = await _load(request, engine, settings, telemetry)
        plan = _plan(wanted, request, package)
        plan.check()
        drawing = Drawing(engine, package, request, plan, settings, telemetry)
        folder.claim(plan)
        yield plan, drawing
    finally:
        if drawing is not None:
            drawing.close()
        await engine.drain(STOP_S)


def _plan(wanted: Wanted, request: GenerateRequest, package: ServedPackage) -> Plan:
    # The tags of `select` are for messages; what is written has none, of which pydantic would warn.
    parameters = request.model_dump(
        mode="json", exclude=set(OF_SAMPLES | OF_PACKAGE), exclude_none=True, warnings=False
    )
    names = () if package.manifest.labels is None else package.manifest.labels.names
    labels = read_labels(request.label, None, names=names, count=1, place=QUERY)
    if labels is not None:
        parameters["label"] = int(labels[0])  # one class has one plan, by name or by number
    return Plan(
        model=package.key.name,
        version=package.key.version,
        package_sha256=package.sha256,
        stack=stack_id(package),
        request=parameters,
        first_seed=wanted.seed or 0,
        n=wanted.n or 0,
        shard_size=wanted.shard_size or 0,
        format=wanted.format or "npy",
        dtype=wanted.dtype,
    )


async def _load(
    request: GenerateRequest, engine: LocalEngine, settings: Settings, telemetry: Telemetry
) -> ServedPackage:
    """Load the package that a request names, the newest version where it names none."""
    name = request.model or settings.default_model
    folder, found = await asyncio.to_thread(_look, settings, name, telemetry)
    unfetched = found.unfetched(name)
    keys = sorted((*found.packages, *unfetched), key=lambda key: (key.name, -key.version))
    key: PackageKey | None = next(
        (key for key in keys if key.name == name and request.version in {None, str(key.version)}), None
    )
    if key is None and found.problem is not None:
        raise BulkRefused(found.problem)
    if key is None:
        asked = name if request.version is None else f"{name}/{request.version}"
        there = ", ".join(map(str, keys)) or "none"
        raise BulkRefused(
            f"there is no package {asked} in {without_secrets(str(settings.models_dir))}; there are: {there}"
        )
    if key in unfetched:
        raise unfetched[key]
    limits = VettingLimits(settings.vetting_timeout_s, settings.vetting_memory_bytes)
    cache = VettingCache(settings.cache_dir, limits)
    return await Loader(folder, engine, limits, cache, telemetry).make_ready(key)


def _look(settings: Settings, name: str, telemetry: Telemetry) -> tuple[Path, Found]:
    """The folder of packages and what it holds; of object storage the cache, with what there is of one model."""
    folder = settings.models_dir
    if isinstance(folder, str):
        policy = LoadPolicy(settings.model_copy(update={"default_model": name, "load_models": name}))
        mirror = Mirror(folder, settings.cache_dir, policy, telemetry)
        mirror.update()
        return mirror.folder, mirror.look()
    try:
        return folder, find_packages(folder)
    except OSError as error:
        raise BulkRefused(
            f"GANYMEDE_MODELS_DIR={str(folder)!r} cannot be read ({error.strerror}); name the folder of packages"
        ) from error
