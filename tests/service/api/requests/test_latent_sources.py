"""What /generate draws from, over a socket: paths between two seeds, and origins that exclude each other."""

import base64
import io
import json
import zipfile

import httpx
import numpy as np
import pytest

LATENT_SIZE = 16
MAX_SEED = 2**63 - 1

Body = dict[str, object]
Sample = dict[str, object]


def samples_of(client: httpx.Client, **body: object) -> list[Sample]:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    samples: list[Sample] = answer.json()["samples"]
    return samples


def walk(client: httpx.Client, steps: int, *, path: str = "slerp", **body: object) -> list[Sample]:
    """Walk from seed 7 to seed 8."""
    return samples_of(client, interpolate={"from": 7, "to": 8, "steps": steps, "path": path}, **body)


@pytest.mark.parametrize("path", ["slerp", "lerp"])
@pytest.mark.parametrize("sampler", ["philox-1", "numpy-legacy"])
def test_a_path_begins_and_ends_with_its_seeds_own_samples(client: httpx.Client, path: str, sampler: str) -> None:
    first, *between, last = (sample["image"] for sample in walk(client, 9, path=path, sampler=sampler))
    assert [first, last] == [sample["image"] for sample in samples_of(client, seeds=[7, 8], sampler=sampler)]
    assert len({first, *between, last}) > 5


def test_an_arc_is_the_default_and_not_a_line(client: httpx.Client) -> None:
    default = samples_of(client, interpolate={"from": 7, "to": 8, "steps": 5})
    assert default == walk(client, 5)
    assert default != walk(client, 5, path="lerp")


def test_a_step_does_not_depend_on_the_steps_between(client: httpx.Client) -> None:
    assert walk(client, 3) == walk(client, 9)[::4]


def test_what_a_path_leaves_out_is_its_first_seeds_and_what_it_names_is_used(client: httpx.Client) -> None:
    seed = samples_of(client, model="classes", seed=7)[0]
    left_out = walk(client, 4, model="classes")
    assert {sample["label"] for sample in left_out} == {seed["label"]}
    assert left_out[0]["image"] == seed["image"]
    assert [sample["label"] for sample in walk(client, 3, model="classes", labels=[3, 1, 2])] == [3, 1, 2]
    codes = samples_of(client, model="infogan", seed=7)[0]["codes"]
    assert [sample["codes"] for sample in walk(client, 2, model="infogan")] == [codes, codes]


def test_a_path_of_items_leads_from_item_to_item(client: httpx.Client) -> None:
    ends = samples_of(client, model="films", seeds=[7, 8], condition=2)
    walked = walk(client, 9, path="lerp", model="films", condition=2)
    assert [walked[0]["item"], walked[-1]["item"]] == [end["item"] for end in ends]


def test_a_path_is_scored_and_truncated_at_its_ends(client: httpx.Client) -> None:
    ends = samples_of(client, seeds=[7, 8], truncation=0.5, scores=True)
    walked = walk(client, 3, truncation=0.5, scores=True)
    for end, sample in zip(ends, walked[::2], strict=True):
        del end["seed"]
        assert sample == end


def test_every_form_says_what_sampler_made_a_path_and_none_says_seeds(client: httpx.Client) -> None:
    body = {"interpolate": {"from": 7, "to": 8, "steps": 1500}}
    answer = client.post("/generate?format=npy", json=body)
    assert answer.headers["x-sampler"] == "philox-1"
    assert "x-seeds" not in answer.headers
    streamed = np.load(io.BytesIO(answer.content))
    assert streamed.shape == (1500, 8, 8, 1)
    archive = zipfile.ZipFile(io.BytesIO(client.post("/generate?format=zip", json=body).content))
    index = json.loads(archive.read("index.json"))
    assert index["sampler"] == "philox-1"
    assert index["samples"][1040] == {"file": "latent-1040.png"}
    as_json = client.post("/generate", json=body).json()
    assert as_json["sampler"] == "philox-1"
    image = as_json["samples"][1040]["image"]
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == archive.read("latent-1040.png")


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"interpolate": {"from": 7, "to": 8, "steps": 1}}, ["body", "interpolate", "steps"]),
        ({"interpolate": {"from": 7, "to": 8, "steps": 4097}}, ["body", "interpolate", "steps"]),
        ({"interpolate": {"from": 7, "to": 8}}, ["body", "interpolate", "steps"]),
        ({"interpolate": {"from_": 7, "to": 8, "steps": 2, "from": 7}}, ["body", "interpolate", "from_"]),
        ({"interpolate": {"to": 8, "steps": 2}}, ["body", "interpolate", "from"]),
        ({"interpolate": {"from": -1, "to": 8, "steps": 2}}, ["body", "interpolate", "from"]),
        ({"interpolate": {"from": 7, "to": MAX_SEED + 1, "steps": 2}}, ["body", "interpolate", "to"]),
        ({"interpolate": {"from": 7, "to": 8, "steps": 2, "path": "arc"}}, ["body", "interpolate", "path"]),
        ({"interpolate": [7, 8]}, ["body", "interpolate"]),
        ({"interpolate": {"from": 7, "to": 8, "steps": 2}, "n": 2}, ["body", "n"]),
        ({"interpolate": {"from": 7, "to": 8, "steps": 2}, "seed": 2}, ["body", "seed"]),
        ({"interpolate": {"from": 7, "to": 8, "steps": 2}, "seeds": [2]}, ["body", "interpolate"]),
        (
            {"interpolate": {"from": 7, "to": 8, "steps": 2}, "latents": [[0.0] * LATENT_SIZE]},
            ["body", "interpolate"],
        ),
        ({"interpolate": {"from": 7, "to": 8, "steps": 2}, "model": "uniform"}, ["body", "interpolate", "path"]),
        (
            {"interpolate": {"from": 7, "to": 2**32, "steps": 2}, "sampler": "numpy-legacy"},
            ["body", "sampler"],
        ),
        ({"interpolate": {"from": 7, "to": 8, "steps": 3}, "model": "classes", "labels": [1, 2]}, ["body", "labels"]),
    ],
    ids=lambda value: json.dumps(value)[:80],
)
def test_a_path_that_leads_nowhere_is_refused_with_its_place(
    client: httpx.Client, body: Body, loc: list[str | int]
) -> None:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]
