"""One package, from its folder to what the engine is told of it.

    folder ── read_package ──▶ Package ── engine_graphs ──▶ PackageGraphs

Reading verifies everything that the manifest says of files, once, and keeps the very bytes; translating says which of
all the packages that the format can describe this service serves. Neither looks inside a graph (`vetting.py` has that
done) nor runs one.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from service.engine.graphs import GraphSpec, PackageGraphs, PackageKey, TensorSpec, Tolerance
from service.errors import ManifestRefused
from service.packages.files import MANIFEST, read_verified
from service.packages.golden import Arrays, read_golden
from service.packages.manifest import parse_manifest, read_manifest_bytes
from service.packages.schema import ImageSample, Manifest, Tensor


@dataclass(frozen=True, slots=True)
class Package:
    """What a folder held, all of it verified against the manifest.

    Attributes:
        key: name and version.
        manifest: what the package says of itself.
        sha256: of the manifest's bytes; it identifies the package, since the manifest holds every other hash.
        models: graph kind → the graph's bytes.
        golden: graph kind → tensor name → array [G, …].
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    models: dict[str, bytes] = field(repr=False)
    golden: dict[str, Arrays] = field(repr=False)


def read_package(folder: Path) -> Package:
    """Read and verify every file of a package.

    Args:
        folder: named `NAME/VERSION`.

    Returns:
        The package, none of whose graphs has been looked into.

    Raises:
        ManifestRefused: the manifest cannot be accepted, or is another package's.
        FileDamaged: a file is missing or not what the manifest says.
    """
    content = read_manifest_bytes(folder)
    manifest = parse_manifest(content)
    stated, found = f"{manifest.name}/{manifest.version}", f"{folder.parent.name}/{folder.name}"
    if stated != found:
        raise ManifestRefused(f"{MANIFEST}: name and version: are {stated}, but the folder is {found}")
    files = {name: read_verified(folder, name, file.size, file.sha256) for name, file in manifest.files.items()}
    return Package(
        key=PackageKey(manifest.name, manifest.version),
        manifest=manifest,
        sha256=hashlib.sha256(content).hexdigest(),
        models={kind: files[graph.file] for kind, graph in manifest.graphs.items()},
        golden=read_golden(files[manifest.golden.file], manifest),
    )


def engine_graphs(package: Package) -> PackageGraphs:
    """Translate a package into the engine's words.

    Args:
        package: verified, and its graphs vetted.

    Returns:
        Its generator and, where it has one, its discriminator; an encoder is not served.

    Raises:
        ManifestRefused: the format allows such a package, but this service does not serve it.
    """
    manifest = package.manifest
    if not isinstance(manifest.sample, ImageSample):
        _not_served("sample.kind", f"{manifest.sample.kind} samples")
    if manifest.codes is not None:
        _not_served("codes", "codes")
    if manifest.condition is not None:
        _not_served("condition", "conditions")
    discriminator = manifest.discriminator
    if discriminator is not None and any(tensor.role == "latent" for tensor in discriminator.inputs):
        _not_served("discriminator.inputs", "discriminators that judge a latent")
    return PackageGraphs(
        key=package.key,
        generator=GraphSpec(
            model=package.models["generator"],
            inputs=_specs(manifest.generator.inputs),
            outputs=_specs(manifest.generator.outputs),
            golden=package.golden["generator"],
        ),
        discriminator=_discriminator_spec(package),
        latent_size=manifest.latent.size,
        prior=manifest.latent.prior,
        label_count=len(manifest.labels.names) if manifest.labels else None,
        sample_range=manifest.sample.range,
        tolerances=tuple(Tolerance(**tolerance.model_dump()) for tolerance in manifest.golden.tolerances),
    )


def _not_served(key: str, what: str) -> NoReturn:
    raise ManifestRefused(f"{MANIFEST}: {key}: this service does not serve {what}")


def _specs(tensors: tuple[Tensor, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**tensor.model_dump()) for tensor in tensors)


def _discriminator_spec(package: Package) -> GraphSpec | None:
    discriminator = package.manifest.discriminator
    if discriminator is None:
        return None
    return GraphSpec(
        model=package.models["discriminator"],
        inputs=_specs(discriminator.inputs),
        outputs=_specs(discriminator.outputs),
        golden=package.golden["discriminator"],
        batch_coupled=discriminator.batch_coupled,
        pack=discriminator.pack,
    )
