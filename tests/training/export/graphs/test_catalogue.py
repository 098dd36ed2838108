"""Packages of items: scores read from the graph, draws among the unknown, and a whole package against planted truth."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from training import config as configuration
from training import keys
from training.data.planted import PlantedConfig, load, tastes
from training.errors import ExportError
from training.evaluation.ranking import popularity, rank
from training.export.export import export_run
from training.export.graphs import catalogue, onnx_export
from training.export.graphs.interface import CONDITION, LATENT, SAMPLE, Interface
from training.export.graphs.runtime import Graph
from training.loop import run
from training.networks import factorization, item_item
from training.networks.base import Task
from training.networks.catalogue import ItemGenerator
from training.objectives import Irgan
from training.state.batches import LATENTS, latents

USERS, ITEMS = 60, 24
DATA: Final = PlantedConfig(users=USERS, items=ITEMS, rank=2, positives=8, test_positives=2)
FACE: Final = Interface(sample_shape=(), items=9, latent_size=9, prior="gumbel", conditions=4)
TASK: Final = Task(sample_shape=(), items=9, classes=4)


def unheard(_line: str) -> None:
    """Discard a line of output."""


def small_generator(kind: str) -> ItemGenerator:
    torch.manual_seed(1)
    network: ItemGenerator
    if kind == "factorization":
        config = factorization.GeneratorConfig(latent_size=9, prior="gumbel", conditional=True)
        network = factorization.Generator(config, TASK)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
    else:
        network = item_item.Generator(item_item.GeneratorConfig(latent_size=9, prior="gumbel", ridge=1.0), TASK)
    network.start_from(torch.rand(4, 9) < 0.4)
    return network.eval()


@pytest.mark.parametrize("kind", ["factorization", "item_item"])
def test_scores_read_from_a_graph_are_the_networks_own(kind: str) -> None:
    network = small_generator(kind)
    model = onnx_export.write(network, FACE.generator_inputs, FACE.generator_outputs)
    with torch.no_grad():
        expected = network.scores(torch.arange(4)).numpy()
    assert np.allclose(catalogue.scores(model, 4, 9), expected, atol=1e-5)


def test_a_graph_that_does_not_draw_is_refused() -> None:
    class Adding(torch.nn.Module):
        def forward(self, latent: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
            return latent.sum(1).long() + users

    model = onnx_export.write(Adding(), FACE.generator_inputs, FACE.generator_outputs)
    with pytest.raises(ExportError, match="ends in one ArgMax; this graph has 0"):
        catalogue.scores(model, 4, 9)


def test_draws_among_the_unknown_follow_the_law_given_that() -> None:
    network, count = small_generator("factorization"), 20_000
    known = np.zeros((4, 9), np.bool_)
    known[2, :5] = True
    users = np.full(count, 2)
    noise = catalogue.among_the_unknown(latents(0, LATENTS, 0, count, 9, "gumbel").numpy(), users, known)
    with torch.no_grad():
        drawn = network(torch.from_numpy(noise), torch.from_numpy(users)).numpy()
        expected = network.scores(torch.tensor([2]))[0, 5:].softmax(0).numpy()
    frequencies = np.bincount(drawn, minlength=9) / count
    assert frequencies[:5].max() == 0
    assert np.allclose(frequencies[5:], expected, atol=4 * np.sqrt(0.25 / count))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of IRGAN, trained for seconds on planted interactions."""
    root = tmp_path_factory.mktemp("items")
    config = configuration.load(keys.find("irgan-planted"))
    small = replace(
        config,
        data=DATA,
        generator=replace(config.generator, latent_size=ITEMS),
        objective=Irgan(pretraining_steps=60, temperature=1.0, baseline="batch"),
        trainer=replace(config.trainer, total_samples=40_960, learning_rate_generator=0.02, batch_size=512),
    )
    run.start(small, root / "run", unheard)
    return export_run(root / "run", root / "models", None, None, unheard)


def test_the_manifest_says_items_for_users(package: Path) -> None:
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["sample"] == {"kind": "item", "count": ITEMS}
    assert manifest["latent"] == {"size": ITEMS, "prior": "gumbel"}
    assert manifest["condition"] == {"name": "user", "count": USERS}
    tensors = {
        graph: [
            (port["name"], port["datatype"], port["shape"]) for side in ("inputs", "outputs") for port in ports[side]
        ]
        for graph, ports in manifest.items()
        if graph in {"generator", "discriminator"}
    }
    condition = ("condition", "INT64", [-1])
    assert tensors["generator"] == [("latent", "FP32", [-1, ITEMS]), condition, ("sample", "INT64", [-1])]
    assert tensors["discriminator"] == [("sample", "INT64", [-1]), condition, ("logit", "FP32", [-1])]
    assert not (package / "preview.png").exists()


def test_the_golden_vectors_replay_exactly(package: Path) -> None:
    golden = np.load(package / "golden.npz")
    drawn = Graph((package / "generator.onnx").read_bytes()).run(
        {LATENT: golden["generator.latent"], CONDITION: golden["generator.condition"]}
    )
    assert np.array_equal(drawn[SAMPLE], golden["generator.sample"])


def test_what_is_served_most_often_is_what_was_planted(package: Path) -> None:
    draws = 2_000
    served = Graph((package / "generator.onnx").read_bytes())
    frequencies = np.stack(
        [
            np.bincount(
                served.output(
                    SAMPLE,
                    {
                        LATENT: latents(7, LATENTS, user, draws, ITEMS, "gumbel").numpy(),
                        CONDITION: np.full(draws, user),
                    },
                ),
                minlength=ITEMS,
            )
            / draws
            for user in range(USERS)
        ]
    )
    truth = tastes(DATA)
    agreement = [
        np.corrcoef(np.argsort(np.argsort(row)), np.argsort(np.argsort(true)))[0, 1]
        for row, true in zip(frequencies, truth, strict=True)
    ]
    assert np.mean(agreement) > 0.5  # rank correlation; 0.60 was measured
    data = load(DATA)
    known, sought = data.relevance(data.pairs), data.relevance(data.test)
    assert rank(frequencies, known, sought)["map"] > 1.3 * rank(popularity(known), known, sought)["map"]
