"""Adopting graphs that were made elsewhere: what is decided, and that the service serves the very same samples."""

import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import foreign_graphs, foreign_torch
from tests.support.foreign_graphs import DISCRIMINATOR, ENCODER, GENERATOR, LATENT_SIZE, MAPPING, SHAPE, ForeignGan
from tests.support.serving import ServiceProcess
from tests.training.data import images
from training import cli
from training.adopt import Adoption, adopt, read_options, read_sources

ROWS = 3
SEEDS = 5
ROLES = {MAPPING: "--mapping", DISCRIMINATOR: "--discriminator", ENCODER: "--encoder"}


def weights_of_one() -> ForeignGan:
    """A convolution whose weights are made of the latent: StyleGAN2's, of which no batch can be made."""
    graph = foreign_graphs.Foreign(80)
    kernel = graph.node("Reshape", graph.dense("z", LATENT_SIZE, 3 * 8 * 9), graph.constant(np.array([3, 8, 3, 3])))
    start = graph.weights(1, 8, *SHAPE[1:], fan_in=8)
    graph.node("Tanh", graph.node("Conv", start, kernel, pads=[1, 1, 1, 1]), output="image")
    inputs = [foreign_graphs.tensor("z", foreign_graphs.FLOAT, 1, LATENT_SIZE)]
    return ForeignGan(
        files={GENERATOR: graph.finish(inputs, [foreign_graphs.tensor("image", foreign_graphs.FLOAT, 1, *SHAPE)])}
    )


MAKERS: Mapping[str, Callable[[], ForeignGan]] = {
    maker.__name__.replace("_", "-"): maker
    for maker in (
        foreign_graphs.fixed_batch, foreign_graphs.flat, foreign_graphs.byte_range, foreign_graphs.channels_last_bytes,
        foreign_graphs.half_precision, foreign_graphs.one_hot_label, foreign_graphs.integer_label,
        foreign_graphs.mapping_and_synthesis, foreign_graphs.with_logits, foreign_torch.dcgan_pair, weights_of_one,
    )
}  # fmt: skip


def unheard(_line: str) -> None:
    """Discard a message."""


def adopted(gan: ForeignGan, folder: Path, models: Path, name: str, *flags: str) -> Adoption:
    """Adopt a GAN by the words of a command line, without the service's own check."""
    folder.mkdir(exist_ok=True)
    for file, content in gan.files.items():
        (folder / file).write_bytes(content)
    others = [word for file, flag in ROLES.items() if file in gan.files for word in (flag, str(folder / file))]
    words = ["adopt", str(folder / GENERATOR), "--name", name, "--models", str(models), *others, *gan.flags, *flags]
    asked = cli.parser().parse_args(words)
    return adopt(read_sources(asked), dataclasses.replace(read_options(asked), checked=False), unheard)


@pytest.fixture(scope="module")
def gans() -> Mapping[str, ForeignGan]:
    return {name: maker() for name, maker in MAKERS.items()}


@pytest.fixture(scope="module")
def models(gans: Mapping[str, ForeignGan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adopted")
    images.fill(root / "pictures", 80, size=SHAPE[1:], mode="RGB")
    for name, gan in gans.items():
        data = ("--data", str(root / "pictures")) if name == "dcgan-pair" else ()
        adopted(gan, root / name, root / "models", name, *data)
    return root / "models"


def serving(models: Path) -> ServiceProcess:
    return ServiceProcess(models, default_model="flat", max_batch_samples=4)


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[httpx.Client]:
    with serving(models) as process, process.loaded().client() as client:
        yield client


def pixels(client: httpx.Client, **body: object) -> NDArray[np.uint8]:
    answer = client.post("/generate", json=body, headers={"accept": "application/x-npy"})
    assert answer.status_code == 200, answer.text
    found: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_the_service_sends_the_images_of_the_untouched_graph(
    name: str, client: httpx.Client, gans: Mapping[str, ForeignGan]
) -> None:
    gan = gans[name]
    latents = np.random.default_rng(0).standard_normal((ROWS, gan.latent_size)).astype(np.float32)
    labels = np.arange(ROWS) % max(1, gan.classes)
    told = {"labels": labels.tolist()} if gan.classes else {}
    found = pixels(client, model=name, latents=latents.tolist(), **told).astype(int)
    assert np.abs(found - gan.pixels(latents, labels).astype(int)).max() <= 1


def test_a_seed_gives_the_same_bytes_alone_in_a_batch_and_after_a_restart(client: httpx.Client, models: Path) -> None:
    together = {name: pixels(client, model=name, seed=0, n=SEEDS) for name in MAKERS}
    for name, found in together.items():
        assert len({image.tobytes() for image in found}) == SEEDS
        for seed in range(SEEDS):
            assert pixels(client, model=name, seed=seed)[0].tobytes() == found[seed].tobytes()
    with serving(models) as process, process.loaded().client() as again:
        for name, found in together.items():
            assert pixels(again, model=name, seed=0, n=SEEDS).tobytes() == found.tobytes()


def test_a_graph_that_takes_one_sample_is_served_one_by_one(client: httpx.Client) -> None:
    found = client.get("/models/weights-of-one/versions/1").json()
    assert found["generator_on_device"]["buckets"] == [1]


def test_a_calibrated_discriminator_scores_as_its_file_does(
    client: httpx.Client, gans: Mapping[str, ForeignGan]
) -> None:
    shown = pixels(client, model="dcgan-pair", seed=0, n=ROWS)
    buffer = io.BytesIO()
    np.save(buffer, shown)
    answer = client.post(
        "/score?model=dcgan-pair", content=buffer.getvalue(), headers={"content-type": "application/x-npy"}
    ).json()
    probabilities = gans["dcgan-pair"].answers(DISCRIMINATOR, shown).ravel()
    for score, probability in zip(answer["scores"], probabilities, strict=True):
        assert 1 / (1 + np.exp(-score["logit"])) == pytest.approx(probability, abs=1e-5)
        assert 0 <= score["probability"] <= 1


def test_an_encoder_answers_as_its_file_does(client: httpx.Client, gans: Mapping[str, ForeignGan]) -> None:
    shown = pixels(client, model="with-logits", seed=0, n=1)
    buffer = io.BytesIO()
    np.save(buffer, shown)
    answer = client.post(
        "/encode?model=with-logits", content=buffer.getvalue(), headers={"content-type": "application/x-npy"}
    ).json()
    expected = gans["with-logits"].answers(ENCODER, shown)[0]
    assert answer["encodings"][0]["latent"] == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "words"), [("flat", "has no discriminator"), ("with-logits", "is not calibrated.*--data FOLDER")]
)
def test_what_a_package_cannot_do_is_said_by_score_and_card(
    name: str, words: str, client: httpx.Client, models: Path
) -> None:
    answer = client.post(f"/score?model={name}", content=b"", headers={"content-type": "image/png"})
    assert answer.status_code == 422
    card = (models / name / "1" / "card.md").read_text()
    assert "Not available: " in card
    chosen = client.post("/generate", json={"model": name, "scores": True})
    assert chosen.status_code == 422
    assert re.search(words, chosen.text)


def test_the_manifest_says_where_the_graphs_come_from(gans: Mapping[str, ForeignGan], models: Path) -> None:
    manifest = json.loads((models / "dcgan-pair" / "1" / "manifest.json").read_text())
    origin = manifest["provenance"]["imported_from"]
    assert {role: file["file"] for role, file in origin.items()} == {
        "generator": GENERATOR,
        "discriminator": DISCRIMINATOR,
    }
    assert origin["generator"]["opset"] == 17
    assert origin["generator"]["producer"].startswith("pytorch")
    assert manifest["provenance"]["calibrated_on"]["name"] == "pictures"


def test_the_command_says_why_and_has_the_service_check_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / GENERATOR).write_bytes(foreign_graphs.plain(81))
    words = ["adopt", str(tmp_path / GENERATOR), "--name", "mine", "--models", str(tmp_path / "models")]
    assert cli.main([*words, "--prior", "uniform", "--json"]) == 0
    said = capsys.readouterr()
    assert "checked: the service serves it on this machine, in batches of 1, 2, 4" in said.err
    found = json.loads(said.out)
    assert found["package"] == str(tmp_path / "models" / "mine" / "1")
    assert {"subject": "prior", "value": "uniform", "reason": "as stated", "flag": "--prior"} in found["decisions"]
    assert {each["subject"] for each in found["decisions"]} >= {"graph", "latent", "sample", "range", "batch"}
    manifest = json.loads((tmp_path / "models" / "mine" / "1" / "manifest.json").read_text())
    assert manifest["latent"] == {"size": LATENT_SIZE, "prior": "uniform"}
