"""Answers that must be whole are refused before they are made where they would be too large."""

import pytest

from service.api.limits import MAX_JSON_NUMBERS, MAX_WHOLE_BYTES, check_numbers, check_size
from service.api.sample_types import Images, Items, Kind, Vectors, sample_bytes
from service.errors import InvalidRequest
from service.media.negotiation import MEDIA, Media

FORMS: dict[str, Media] = {media.name: media for media in MEDIA}
LOC = ("body", "n")


@pytest.mark.parametrize(
    ("kind", "form", "most", "words"),
    [
        (Images(64, 64, 3), "json", MAX_WHOLE_BYTES // (64 * 64 * 3), "samples of this size fit one application/json"),
        (Images(64, 64, 1), "png", 4096, "the contact sheet would have"),
        (Vectors(1000), "json", MAX_JSON_NUMBERS // 1000, "samples of this size fit one JSON answer"),
        (Vectors(1000), "npy", MAX_WHOLE_BYTES // 4000, "samples of this size fit one application/x-npy"),
        (Items(9), "json", MAX_WHOLE_BYTES // 8, "samples of this size fit"),
    ],
    ids=["images", "a sheet", "numbers", "an array", "items"],
)
def test_the_largest_answer_is_made_and_a_larger_one_is_not(kind: Kind, form: str, most: int, words: str) -> None:
    size = sample_bytes(kind, raw_values=not isinstance(kind, Images))
    check_size(kind, most, size, FORMS[form], LOC, "ask for fewer")
    with pytest.raises(InvalidRequest, match=f"{words}.*; ask for fewer") as refusal:
        check_size(kind, most + 1, size, FORMS[form], LOC, "ask for fewer")
    assert refusal.value.problems[0].loc == LOC


def test_encodings_have_a_limit_of_numbers() -> None:
    check_numbers(1000, MAX_JSON_NUMBERS // 1000, LOC, "send fewer")
    with pytest.raises(InvalidRequest, match="at most 999 samples of this size fit one JSON answer; send fewer"):
        check_numbers(1000, MAX_JSON_NUMBERS // 1000 + 1, LOC, "send fewer")
