"""Reads the networks of a package back from its graphs, as far as they name their weights.

    initialisers by name ──▶ networks of the package's configuration ──▶ outputs compared with its golden vectors

A graph holds networks as they are served (`inference_networks`), so that three things are undone: a kernel that is the
value of a parametrization, a weight that was divided by its largest singular value, and a batch normalisation that was
folded into the layer before it. What was folded is measured anew, by samples of the generator: scale and shift of such
a layer become the deviation and mean of what it is given, so that it computes the same in training mode, too. Networks
over items lose the names of their weights in a graph, and are refused.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training import config as configuration
from training.config import Config
from training.errors import CheckpointError, ConfigError
from training.export.graphs import inference_networks
from training.export.graphs.inference_networks import Normalisation
from training.networks.base import Task
from training.state import players
from training.state.batches import EXPORT, EXPORT_CODES, EXPORT_LABELS, codes, labels, latents
from training.state.checkpoint import Run
from training.state.players import CODE_HEAD, DISCRIMINATOR, ENCODER, GENERATOR

MANIFEST: Final = "manifest.json"
MEASURED_ON: Final = 2_048  # latents, for the statistics of folded layers
MADE_OTHERWISE: Final = "it was not exported from a run of this program"
Weights = dict[str, Tensor]


def read_package(folder: Path) -> tuple[Run, str]:
    """Rebuild the networks of a package.

    Returns:
        A run with the averaged weights on the generator's side, whose discriminator is the trained one, and the SHA-256
        of the package's manifest.

    Raises:
        CheckpointError: if it is no package of an exported run, its files are damaged, or its weights cannot be read
            back.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(content)
        arrays = dict(np.load(io.BytesIO((folder / manifest["golden"]["file"]).read_bytes()), allow_pickle=False))
        graphs: dict[str, Weights] = {
            name: _initialisers(folder / manifest[name]["file"])
            for name in (GENERATOR, DISCRIMINATOR, ENCODER)
            if name in manifest
        }
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        raise CheckpointError(f"{folder} is no whole package: {error}") from error
    try:
        config = configuration.from_tables(manifest["provenance"]["config"])
    except (ConfigError, KeyError) as error:
        raise CheckpointError(f"the networks of {folder} cannot be built: {MADE_OTHERWISE} ({error})") from error
    sample = manifest["sample"]
    if sample["kind"] == "item":
        raise CheckpointError(
            f"the networks of {folder} are over items, and their graphs do not name their weights; begin from its run"
        )
    run = _built(config, manifest, _task(config, manifest))
    folded: set[nn.Module] = set()
    for player, network in _players(run).items():
        missing = _fill(network, _of_player(player, graphs), folded)
        if missing:
            raise CheckpointError(
                f"the graphs of {folder} lack {missing[0]} of the {player}; begin from the run that it is of"
            )
    _measure(run, folded)
    run.players.generator_side.load_state_dict(run.ema.state_dict())
    _compare(run, arrays, manifest, folder)
    return run, hashlib.sha256(content).hexdigest()


def _initialisers(path: Path) -> Weights:
    graph = onnx.load(path).graph
    return {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}


def _task(config: Config, manifest: Mapping[str, Any]) -> Task:
    sample = manifest["sample"]
    shape = (sample["size"],) if sample["kind"] == "vector" else (sample["channels"], sample["height"], sample["width"])
    return Task(
        sample_shape=tuple(shape),
        classes=len(manifest["labels"]["names"]) if config.generator.conditional else 0,
        code_size=config.codes.size if config.codes is not None else 0,
        pack=config.discriminator.pack,
        joint_size=config.generator.latent_size if config.encoder is not None else 0,
    )


def _built(config: Config, manifest: Mapping[str, Any], task: Task) -> Run:
    provenance = manifest["provenance"]
    trained, ema = players.build(config, task), players.build(config, task).generator_side
    for side in (trained.generator_side, trained.critic_side, ema):
        side.eval().requires_grad_(False)
    return Run(
        config=config,
        config_sha256=provenance["config_sha256"],
        data_sha256=provenance["data"]["sha256"],
        samples_seen=provenance["samples_seen"],
        history=(),
        task=task,
        players=trained,
        ema=ema,
    )


def _players(run: Run) -> dict[str, nn.Module]:
    found = {GENERATOR: run.ema[GENERATOR], DISCRIMINATOR: run.players.discriminator}
    if ENCODER in run.ema:
        found[ENCODER] = run.ema[ENCODER]
    if CODE_HEAD in run.players.critic_side:
        found[CODE_HEAD] = run.players.critic_side[CODE_HEAD]
    return found


def _of_player(player: str, graphs: Mapping[str, Weights]) -> Weights:
    """The initialisers of a player, named as its own weights are."""
    graph = graphs.get(ENCODER if player == CODE_HEAD else player, {})
    inside = f"network.{player}."  # where the network is wrapped in what its graph computes besides
    prefix = inside if any(name.startswith(inside) for name in graph) else "network."
    return {name.removeprefix(prefix): value for name, value in graph.items() if name.startswith(prefix)}


def _fill(network: nn.Module, weights: Weights, folded: set[nn.Module]) -> list[str]:
    """Fill a network with weights as they are served, and return the names of those that are missing.

    Args:
        folded: gets the normalisations that were folded into other layers.
    """
    missing, before = [], ""
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if isinstance(module, Normalisation) and f"{name}.running_mean" not in weights:
            names = (f"{before}.bias", f"{before}.weight_bias")  # the second where the layer itself adds none
            shift = next((weights.pop(each) for each in names if each in weights), None)
            if shift is None:
                missing.append(f"{name}.running_mean")
            else:
                _unfold(module, shift)
                folded.add(module)
                if getattr(modules[before], "bias", None) is not None:
                    weights[f"{before}.bias"] = torch.zeros_like(shift)
                    modules[before].bias.copy_(weights[f"{before}.bias"])
            continue
        for tensor in (*_own(module), *(["running_mean", "running_var"] if isinstance(module, Normalisation) else [])):
            value = weights.get(f"{name}.{tensor}")
            if value is None and tensor == "bias":
                value = torch.zeros_like(module.bias)  # the exporter drops one of zeros
            if value is None or value.shape != getattr(module, tensor).shape:
                missing.append(f"{name}.{tensor}")
            else:
                _set(module, tensor, value)
        if _own(module) and not isinstance(module, Normalisation):
            before = name
    return missing


def _own(module: nn.Module) -> list[str]:
    """Names of a module's own weights, as they are served."""
    if isinstance(module, parametrize.ParametrizationList):
        return []
    own = [name for name, value in module.named_parameters(recurse=False) if value is not None]
    return own + list(module.parametrizations) if parametrize.is_parametrized(module) else own  # type: ignore[arg-type]


@torch.no_grad()
def _set(module: nn.Module, tensor: str, value: Tensor) -> None:
    if not (parametrize.is_parametrized(module) and tensor in module.parametrizations):  # type: ignore[operator]
        getattr(module, tensor).copy_(value)
        return
    setattr(module, tensor, value)  # by each parametrization's inverse
    for part in module.parametrizations[tensor]:  # type: ignore[index]
        if hasattr(part, "_u"):  # spectral normalisation divides by <u, W v>, in training after one power iteration
            left, (largest, *_), right = torch.linalg.svd(value.flatten(1), full_matrices=False)
            # What is served was divided by an estimate, which a short run leaves below the largest singular value. So
            # that it is not divided again, <u, W v> is 1; the iteration gives both vectors unit length.
            part._u.copy_(left[:, 0] / largest)
            part._v.copy_(right[0])


@torch.no_grad()
def _unfold(layer: Normalisation, shift: Tensor) -> None:
    """Make a folded normalisation add a shift and nothing else, until it is measured."""
    mean, variance = _statistics(layer)
    layer.weight.fill_(1.0)
    layer.bias.copy_(shift)
    mean.zero_()
    variance.fill_(1.0 - layer.eps)


def _statistics(layer: Normalisation) -> tuple[Tensor, Tensor]:
    return cast("Tensor", layer.running_mean), cast("Tensor", layer.running_var)


@torch.no_grad()
def _measure(run: Run, folded: set[nn.Module]) -> None:
    """Give folded normalisations the statistics of what they are given; the networks compute the same as before."""
    config, task, seed = run.config, run.task, run.config.seed
    given = [latents(seed, EXPORT, 0, MEASURED_ON, config.generator.latent_size, config.generator.prior)]
    if task.classes:
        given.append(labels(seed, EXPORT_LABELS, 0, MEASURED_ON, task.classes))
    told = given[1:]
    if config.codes is not None:
        given.append(codes(seed, EXPORT_CODES, 0, MEASURED_ON, config.codes))
    samples = _watching(run.ema[GENERATOR], given, folded)
    found = [_watching(run.ema[ENCODER], [samples], folded)] if ENCODER in run.ema else []
    discriminator = run.players.discriminator
    _watching(discriminator, [samples, *told, *found], folded)
    if CODE_HEAD in run.players.critic_side:
        features: Tensor = discriminator.features(samples)  # type: ignore[operator]
        _watching(run.players.critic_side[CODE_HEAD], [features], folded)


def _watching(network: nn.Module, given: list[Tensor], folded: set[nn.Module]) -> Tensor:
    """Run a network, and measure its folded layers."""
    handles = [layer.register_forward_pre_hook(_measured) for layer in network.modules() if layer in folded]
    output: Tensor = network(*given)
    for handle in handles:
        handle.remove()
    return output


def _measured(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    (values,) = inputs
    normalisation = cast("Normalisation", layer)
    axes = [axis for axis in range(values.dim()) if axis != 1]
    variance, mean = torch.var_mean(values, axes, correction=0)
    for kept, measured in zip(_statistics(normalisation), (mean, variance), strict=True):
        kept.copy_(measured)
    normalisation.weight.copy_((variance + normalisation.eps).sqrt())
    normalisation.bias.add_(mean)


def _compare(run: Run, arrays: Mapping[str, Any], manifest: Mapping[str, Any], folder: Path) -> None:
    """Refuse networks that do not compute what the package's golden vectors say."""
    allowed = manifest["golden"]["tolerances"][0]
    served = {
        GENERATOR: inference_networks.generator(run),
        DISCRIMINATOR: inference_networks.discriminator(run),
        ENCODER: inference_networks.encoder(run),
    }
    for graph, network in served.items():
        if network is None or graph not in manifest:
            continue
        inputs = [torch.from_numpy(arrays[f"{graph}.{port['name']}"]) for port in manifest[graph]["inputs"]]
        with torch.no_grad():
            made = network(*inputs)
        output = manifest[graph]["outputs"][0]
        first: Tensor = made[0] if isinstance(made, tuple) else made
        gap = float((first - torch.from_numpy(arrays[f"{graph}.{output['name']}"])).abs().max())
        if not gap <= allowed[output["role"]]:
            raise CheckpointError(
                f"the {graph} of {folder} cannot be read back: it differs by {gap:.2g} from its golden vectors; begin "
                "from the run that it is of"
            )
