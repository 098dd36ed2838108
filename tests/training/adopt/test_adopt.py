"""Adopting graphs that were made elsewhere: what is decided, and that the service serves the very same samples."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support import foreign_graphs
from tests.support.foreign_graphs import ForeignGan
from tests.support.serving import ServiceProcess
from training.adopt import GraphFile, Options, Sources, adopt

MAKERS: Mapping[str, Callable[[], ForeignGan]] = {
    "dynamic": foreign_graphs.dynamic_batch,
    "fixed": foreign_graphs.fixed_batch,
}
ROWS = 3


def unheard(_line: str) -> None:
    """Discard a message."""


@pytest.fixture(scope="module")
def gans() -> Mapping[str, ForeignGan]:
    return {name: maker() for name, maker in MAKERS.items()}


@pytest.fixture(scope="module")
def client(gans: Mapping[str, ForeignGan], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    models = tmp_path_factory.mktemp("adopted") / "models"
    for name, gan in gans.items():
        generator = GraphFile.of(foreign_graphs.GENERATOR, gan.files[foreign_graphs.GENERATOR])
        adopt(Sources(generator=generator), Options(name=name, models=Path(models)), unheard)
    with ServiceProcess(models, default_model="dynamic").loaded() as process, process.client() as client:
        yield client


def pixels(client: httpx.Client, body: dict[str, object]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    answer = client.post("/generate", json=body, headers={"accept": "application/x-npy"})
    assert answer.status_code == 200, answer.text
    from io import BytesIO  # noqa: PLC0415

    found: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = np.load(BytesIO(answer.content))
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_the_service_sends_the_images_of_the_untouched_graph(
    name: str, client: httpx.Client, gans: Mapping[str, ForeignGan]
) -> None:
    gan = gans[name]
    latents = np.random.default_rng(0).standard_normal((ROWS, gan.latent_size)).astype(np.float32)
    found = pixels(client, {"model": name, "latents": latents.tolist()})
    assert np.abs(found.astype(int) - gan.pixels(latents).astype(int)).max() <= 1


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_alone_and_in_a_batch_gives_the_same_bytes(name: str, client: httpx.Client) -> None:
    together = pixels(client, {"model": name, "seed": 0, "n": 9})
    for seed in range(9):
        assert (pixels(client, {"model": name, "seed": seed})[0] == together[seed]).all()
