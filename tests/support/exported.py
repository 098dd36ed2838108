"""A small package, trained for seconds on the bundled digits and exported once for all tests of a session.

The classifier's cache is in the same temporary folder, not in the user's cache.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import small
from training import data
from training.export.export import export_run
from training.export.graphs import inference_networks, transfer
from training.loop import run
from training.loop.trainer import Trainer

NAME = "small"


def unheard(_line: str) -> None:
    """Discard a message."""


def cache(factory: pytest.TempPathFactory) -> Path:
    """The folder used as the user's cache."""
    return factory.getbasetemp() / "cache"


def package(factory: pytest.TempPathFactory) -> Path:
    """Folder of the package; its run is `run`, beside the models folder."""
    root = factory.getbasetemp() / "exported"
    folder = root / "models" / NAME / "1"
    if not folder.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache(factory)))
            run.start(small.config(), root / "run", unheard)
            export_run(root / "run", root / "models", None, None, unheard, license_text="CC0-1.0")
    return folder


def apart(package: Path) -> dict[str, float]:
    """How far a run that begins with a package is from its golden vectors: by graph, in units of the tolerance."""
    origin = transfer.find(package)
    trainer = Trainer(origin.run.config, data.load(origin.run.config.data))
    assert transfer.begin_from(trainer, origin) == []
    begun = dataclasses.replace(origin.run, players=trainer.players, ema=trainer.ema)
    networks = {
        "generator": inference_networks.generator(begun),
        "discriminator": inference_networks.discriminator(begun),
        "encoder": inference_networks.encoder(begun),
    }
    manifest, found = json.loads((package / "manifest.json").read_bytes()), {}
    allowed = manifest["golden"]["tolerances"][0]
    with np.load(package / "golden.npz", allow_pickle=False) as golden, torch.no_grad():
        for graph, network in networks.items():
            if network is None:
                continue
            made = network(*(torch.from_numpy(golden[f"{graph}.{port['name']}"]) for port in manifest[graph]["inputs"]))
            kept = manifest[graph]["outputs"][0]
            output = made[0] if isinstance(made, tuple) else made
            gap = float((output - torch.from_numpy(golden[f"{graph}.{kept['name']}"])).abs().max())
            found[graph] = gap / allowed[kept["role"]]
    return found
