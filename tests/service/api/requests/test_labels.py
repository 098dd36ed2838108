"""Classes by number and by name: in a query, which has only text, a name wins over the number that it looks like."""

import httpx
import pytest

from service.api.requests.fields import read_labels
from service.errors import InvalidRequest

NAMES = ["0", "1", "10", "11", "2"]


def read(label: int | str, place: str) -> int:
    labels = read_labels(label, None, names=NAMES, count=1, place=place)
    assert labels is not None
    return int(labels[0])


def test_in_a_query_a_name_wins_over_a_number() -> None:
    assert [read(text, "query") for text in ("2", "10", "11")] == [4, 2, 3]
    assert read("3", "query") == 3


def test_in_a_body_numbers_are_numbers_and_strings_are_names() -> None:
    assert [read(label, "body") for label in (2, "2", 3)] == [2, 4, 3]
    with pytest.raises(InvalidRequest):
        read("3", "body")


@pytest.mark.parametrize("text", ["5", "-1", "9" * 90, "٣", "two", ""])
def test_a_query_that_names_no_class_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read(text, "query")


def test_an_answer_names_the_class_beside_its_number(client: httpx.Client) -> None:
    samples = client.post("/generate", json={"model": "classes", "n": 3, "seed": 7}).json()["samples"]
    assert [sample["label_name"] for sample in samples] == [f"class {sample['label']}" for sample in samples]
    unconditional = client.post("/generate").json()["samples"][0]
    assert "label_name" not in unconditional
