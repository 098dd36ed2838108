"""Which form an answer takes, for the headers that real clients send."""

from typing import get_args

import pytest

from service.errors import NotAcceptable
from service.media.encoders import IMAGE_ENCODERS
from service.media.negotiation import MEDIA, FormatName, Media, Suffix, choose

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),  # curl, httpx, requests
        ("application/json, text/plain, */*", "json"),  # axios
        (BROWSER, "webp"),
        ("image/png", "png"),
        ("IMAGE/PNG", "png"),
        ("image/*", "png"),
        ("application/*", "json"),
        ("application/x-npy", "npy"),
        ("application/zip;q=0.5, image/jpeg;q=0.4", "zip"),
        ("application/json;q=0.1, image/png;q=0.2", "png"),
        ("image/png, */*", "png"),  # named wins over matched by a wildcard
        ("image/*, image/png;q=0.1, application/json;q=0.5", "webp"),  # the most specific range gives the quality
        ("application/json;charset=utf-8", "json"),
        ("application/json; q=0, */*; q=0.1", "png"),
        ("image/png;q=high, application/zip", "zip"),  # a range that is not well-formed counts for nothing
    ],
)
def test_the_accept_header_decides_by_quality_then_by_how_specific_it_is(accept: str | None, name: str) -> None:
    assert choose(accept, None).name == name


@pytest.mark.parametrize("media", MEDIA, ids=lambda media: media.name)
def test_the_format_parameter_wins_over_the_header(media: Media) -> None:
    assert choose("text/html", media.name) is media


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/avif, text/*", "image/png;q=2", ",;,"])
def test_a_header_that_accepts_nothing_there_is_lists_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        choose(accept, None)
    for media in MEDIA:
        assert media.media_type in str(refusal.value)


def test_only_what_an_answer_can_be_is_chosen_and_listed() -> None:
    arrays = tuple(media for media in MEDIA if not media.media_type.startswith("image/"))
    assert choose("image/png, application/json;q=0.1", None, arrays).name == "json"
    assert choose("*/*", None, arrays).name == "json"
    with pytest.raises(NotAcceptable, match=r"json.*npy.*zip") as refusal:
        choose("image/*", None, arrays)
    assert "png" not in str(refusal.value)
    with pytest.raises(NotAcceptable, match="no format 'png' of these samples"):
        choose(None, "png", arrays)


@pytest.mark.parametrize("fmt", ["", "gif", "PNG", "image/png", "x" * 10_000])
def test_an_unknown_format_lists_the_known_ones_and_quotes_little_of_what_was_sent(fmt: str) -> None:
    with pytest.raises(NotAcceptable, match=r"json.*png.*webp.*jpeg.*npy.*zip") as refusal:
        choose(None, fmt)
    assert len(str(refusal.value)) < 400


def test_every_name_and_every_ending_belongs_to_one_row_and_every_image_has_an_encoder() -> None:
    assert sorted(media.name for media in MEDIA) == sorted(get_args(FormatName))
    assert sorted(media.suffix for media in MEDIA if media.suffix is not None) == sorted(get_args(Suffix))
    images = {media.name for media in MEDIA if media.media_type.startswith("image/")}
    assert images == IMAGE_ENCODERS.keys()
