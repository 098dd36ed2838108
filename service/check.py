"""`python -m service check`: whether this machine would serve a package, without serving it.

As when the service loads a package: manifest and hashes, vetting in the child process, golden replay, batch invariance.
"""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from service import logs
from service.app import open_engine
from service.engine.model_spec import PackageKey
from service.errors import PackageError
from service.metrics import Telemetry
from service.packages.registry import ServedPackage
from service.packages.repository.loader import Loader
from service.packages.repository.scan import VERSION
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits
from service.settings import MODEL_NAME, Settings

REFUSED = 1
USAGE = 2  # argparse's own code for a mistake on the command line
STOP_S = 5.0  # for an engine without jobs


def run(folders: Sequence[Path], settings: Settings, *, as_json: bool) -> int:
    """Check packages one after the other, and print what was found of each.

    Args:
        folders: of versions, such as `models/mnist/4`.
        settings: of device, backend, precision and vetting.
        as_json: print one JSON document, a list, instead of lines.

    Returns:
        The process's exit code: 0, 1 if a package was refused, 2 if a folder cannot be one of a version.
    """
    for folder in folders:
        place = folder.resolve()
        if not (MODEL_NAME.fullmatch(place.parent.name) and VERSION.fullmatch(place.name) and place.is_dir()):
            sys.stderr.write(f"{folder} is no folder of a version; name it as in models/mnist/4\n")
            return USAGE
    logs.configure("console", "warning", sys.stderr)
    found = asyncio.run(_check(folders, settings, as_json=as_json))
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if all(entry["ready"] for entry in found) else REFUSED


async def _check(folders: Sequence[Path], settings: Settings, *, as_json: bool) -> list[dict[str, object]]:
    telemetry = Telemetry(CollectorRegistry())
    limits = VettingLimits(settings.vetting_timeout_s, settings.vetting_memory_bytes)
    engine = open_engine(settings, telemetry)
    found = []
    try:
        for folder in folders:
            place = folder.resolve()
            key = PackageKey(place.parent.name, int(place.name))
            cache = VettingCache(settings.cache_dir, limits)
            loader = Loader(place.parents[1], engine, limits, cache, telemetry)
            stated: dict[str, object] = {"folder": str(folder), "name": key.name, "version": key.version}
            try:
                package = await loader.make_ready(key)
            except PackageError as error:
                found.append(stated | {"ready": False, "reason": str(error)})
                lines = [f"{folder}: refused: {error}"]
            else:
                found.append(stated | _as_document(package))
                lines = list(_as_text(folder, package))
                await engine.unload(key)
            if not as_json:
                sys.stdout.writelines(f"{line}\n" for line in lines)
                sys.stdout.flush()
    finally:
        await engine.drain(STOP_S)
    return found


def _as_document(package: ServedPackage) -> dict[str, object]:
    report = dataclasses.asdict(package.report)
    return {
        "ready": True,
        "sha256": package.sha256,
        "load_s": report["load_s"],
        "capabilities": report["capabilities"],
        "graphs": {kind: report[kind] for kind in package.manifest.graphs},
    }


def _as_text(folder: Path, package: ServedPackage) -> Iterator[str]:
    report = package.report
    yield f"{folder}: ready after {report.load_s:.1f} s, manifest SHA-256 {package.sha256}"
    for kind in package.manifest.graphs:
        graph = getattr(report, kind)
        sizes = ", ".join(map(str, graph.buckets)) or "none, requests are never batched together"
        yield f"  {kind}: {graph.runtime} by {graph.provider}, {graph.precision}"
        yield f"    golden vectors: reproduced within {graph.golden_deviation:.1e}"
        equal = "bitwise equal" if graph.reproducible else f"different by up to {graph.largest_deviation:.1e}"
        yield f"    batch sizes: {sizes}" + (f"; {equal} in all of them" if graph.buckets else "")
