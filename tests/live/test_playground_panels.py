"""The playground's panels beside wall and walk, in a real browser: what they show is what the service answers."""

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.live.conftest import OpenPage
from tests.support.browser import TIMEOUT_MS
from tests.support.proxy import Proxy, Refusal
from tests.support.serving import ServiceProcess

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=TIMEOUT_MS)

if TYPE_CHECKING:
    from playwright.sync_api import Page

NPY: Final = {"content-type": "application/x-npy"}
LOADING: Final = Refusal(503, {"retry-after": "1"}, b'{"detail": "it is loading"}')
SETTLED: Final = '.score-results[data-state="shown"][aria-busy="false"]'
# Of the plot, around its inner rectangle, its border included.
LEFT, RIGHT, TOP, BOTTOM = 47, 13, 11, 31
Asked = tuple[str, str, bytes]


@pytest.fixture
def proxy(service: ServiceProcess) -> Iterator[Proxy]:
    with Proxy(service.port) as running:
        yield running


def share(value: float) -> str:
    """As the page writes a share."""
    percents = value * 100
    if percents < 0.05:
        return "< 0.1%"
    if percents > 99.95:
        return "> 99.9%"
    return f"{percents:.1f}%" if not 10 <= percents <= 90 else f"{int(percents + 0.5)}%"


def asked_of(proxy: Proxy, path: str) -> list[Asked]:
    return [each for each in proxy.asked if each[1].partition("?")[0] == path]


def arrays(asked: list[Asked]) -> list[NDArray[Any]]:
    return [np.load(io.BytesIO(body)) for _, _, body in asked]


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def drag(page: "Page", *shares: tuple[float, float], on: str = ".paper", steps: int = 4) -> None:
    """Press the pointer, and move it over a part of the page."""
    page.wait_for_selector(on)
    box = page.locator(on).bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()


def sheet(page: "Page") -> NDArray[np.uint8]:
    """The pixels that the sheet shows, [H, W, 4]."""
    script = """canvas => [canvas.width, canvas.height,
        ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    width, height, *values = page.eval_on_selector(".paper", script)
    return np.array(values, np.uint8).reshape(height, width, 4)


def ready(page: "Page", proxy: Proxy) -> None:
    """Wait until the sheet has the ground of the package's images."""
    page.wait_for_selector(".paper")
    page.wait_for_function("() => document.querySelector('.paper').dataset.ground !== undefined")
    assert asked_of(proxy, "/generate?format=npy".partition("?")[0])


def drop(page: "Page", name: str, kind: str, content: bytes) -> None:
    """Drop a file on the page."""
    script = """([name, type, content]) => {
        const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(script, [name, kind, base64.b64encode(content).decode()])


def file(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def fits(page: "Page") -> bool:
    """Whether nothing hangs out of the page."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))


class TestScore:
    def test_a_drawing_is_sent_as_it_is_shown_and_what_is_answered_is_shown(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=unnamed&view=score")
        ready(page, proxy)
        expect(page.locator(".dial")).to_have_attribute("aria-valuetext", "no score yet")
        drag(page, (0.2, 0.2), (0.8, 0.3), (0.4, 0.8))
        page.wait_for_selector(SETTLED)
        asked = asked_of(proxy, "/score")
        (sent,) = arrays(asked)[-1]
        np.testing.assert_array_equal(sent, sheet(page)[..., :1])
        assert parse_qs(urlsplit(asked[-1][1]).query) == {"model": ["unnamed"], "version": ["1"]}
        (score,) = client.post("/score?model=unnamed", content=asked[-1][2], headers=NPY).json()["scores"]
        assert page.locator(".dial-number").inner_text() == share(score["probability"])
        said = page.locator(".readings-of-score").inner_text()
        assert f"Most like class {score['label_name']}, {share(score['label_probability'])}" in said
        bars = page.locator(".readings-of-score .reading-words").all_inner_texts()
        assert bars == [share(score[f"percentile_{name}"] / 100) for name in ("real", "generated")]
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".dial")).to_have_attribute("aria-valuetext", "no score yet")

    def test_while_one_draws_one_request_is_on_its_way_and_the_last_has_all_of_the_drawing(
        self, proxy: Proxy, open_page: OpenPage
    ) -> None:
        page = open_page(proxy.origin, "/#model=bigan&view=score")
        ready(page, proxy)
        on_their_way = [0, 0]

        def count(change: int, url: str) -> None:
            if urlsplit(url).path == "/score":
                on_their_way[0] += change
                on_their_way[1] = max(on_their_way)

        page.on("request", lambda request: count(1, request.url))
        page.on("requestfinished", lambda request: count(-1, request.url))
        drag(page, (0.1, 0.1), (0.9, 0.2), (0.1, 0.5), (0.9, 0.8), (0.2, 0.9), steps=15)
        page.wait_for_selector(SETTLED)
        sent = arrays(asked_of(proxy, "/score"))
        assert on_their_way == [0, 1]
        assert 1 < len(sent) < 40
        np.testing.assert_array_equal(sent[-1][0], sheet(page)[..., :1])

    def test_a_busy_service_is_asked_again_and_then_gets_the_newest_drawing(
        self, proxy: Proxy, open_page: OpenPage
    ) -> None:
        page = open_page(proxy.origin, "/#model=toy&view=score")
        ready(page, proxy)
        proxy.refusals["/score"] = [LOADING]
        drag(page, (0.1, 0.1), (0.9, 0.2))
        expect(page.locator("#banner")).to_contain_text("The service is not ready (503: it is loading). Trying again")
        drag(page, (0.1, 0.6), (0.9, 0.6))
        page.locator("#banner button").click()
        page.wait_for_selector(SETTLED)
        sent = arrays(asked_of(proxy, "/score"))
        np.testing.assert_array_equal(sent[1][0], sheet(page)[..., :1])
        expect(page.locator("#banner")).to_be_hidden()

    def test_keys_draw_too(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin, "/#model=toy&view=score")
        ready(page, proxy)
        empty = sheet(page)
        page.locator(".paper").focus()
        for key in ("ArrowLeft", "ArrowLeft", "Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space", "ArrowDown"):
            page.keyboard.press(key)
        page.wait_for_selector(SETTLED)
        row, column = np.nonzero((sheet(page) != empty).any(axis=2))
        assert {row.min(), row.max()} <= {3, 4, 5}
        assert column.max() - column.min() >= 2
        page.keyboard.press("Control+z")
        np.testing.assert_array_equal(sheet(page), empty)

    def test_a_picture_is_made_to_fit_and_what_is_no_picture_is_refused_in_a_sentence(
        self, proxy: Proxy, open_page: OpenPage
    ) -> None:
        page = open_page(proxy.origin, "/#model=toy&view=score")
        ready(page, proxy)
        half = np.zeros((40, 80, 3), np.uint8)
        half[:, 40:] = (0, 255, 0)  # in grey, 0.587 of white
        drop(page, "half.png", "image/png", file(Image.fromarray(half), "PNG"))
        expect(page.locator(".score-sheet")).to_contain_text("The sheet shows half.png, 80 × 40.")
        shown = sheet(page)[..., 0]
        assert (shown[3:5, 0].tolist(), shown[3:5, 7].tolist()) == ([0, 0], [150, 150])
        assert len(set(shown[0].tolist())) == 1  # the ground, above a picture that is wider than high
        page.locator("label.chip", has_text="fill the sheet").click()
        page.wait_for_function(
            "() => document.querySelector('.paper').getContext('2d').getImageData(7, 0, 1, 1).data[0] === 150"
        )
        page.wait_for_selector(SETTLED)
        np.testing.assert_array_equal(arrays(asked_of(proxy, "/score"))[-1][0, ..., 0], sheet(page)[..., 0])
        page.get_by_role("button", name="Invert").click()
        assert sheet(page)[0, 7, 0] == 105
        page.locator("label.chip", has_text="all of it").click()
        drop(page, "paper.png", "image/png", file(Image.new("L", (80, 40), 255), "PNG"))
        expect(page.locator(".score-sheet")).to_contain_text("The sheet shows paper.png, 80 × 40.")
        assert set(sheet(page)[..., 0].ravel().tolist()) == {255}  # the bars go on with the picture's edges
        page.get_by_role("button", name="Invert").click()
        assert set(sheet(page)[..., 0].ravel().tolist()) == {0}
        note = page.locator(".note")
        drop(page, "notes.txt", "text/plain", b"no picture")
        expect(note).to_have_text("notes.txt is no image, but text/plain.")
        drop(page, "broken.png", "image/png", b"no picture")
        expect(note).to_have_text("broken.png is no image that this browser can read.")
        huge = file(Image.new("1", (10_000, 10_000)), "PNG", compress_level=9)
        drop(page, "huge.png", "image/png", huge)
        expect(note).to_contain_text("huge.png has 10000 × 10000 pixels; at most 64 million are read here.")
        frames = [Image.new("L", (8, 8), grey) for grey in (200, 20)]
        moving = file(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
        page.locator("#picture").set_input_files({"name": "moving.gif", "mimeType": "image/gif", "buffer": moving})
        expect(page.locator(".score-sheet")).to_contain_text("The sheet shows the first picture of moving.gif, 8 × 8.")
        assert set(sheet(page)[..., 0].ravel().tolist()) == {200}
        expect(note).to_be_empty()
        page.evaluate(
            """content => {
                const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
                const clipboardData = new DataTransfer();
                clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
                const given = { clipboardData, bubbles: true, cancelable: true };
                document.body.dispatchEvent(new ClipboardEvent("paste", given));
            }""",
            base64.b64encode(file(Image.new("L", (8, 8), 77), "PNG")).decode(),
        )
        expect(page.locator(".score-sheet")).to_contain_text("pasted.png")
        assert set(sheet(page)[..., 0].ravel().tolist()) == {77}

    def test_a_kept_sample_scores_its_own_realness(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=classes&view=score&label=3&kept=7~l3")
        ready(page, proxy)
        with page.expect_response(re.compile("/score")) as answered:
            page.locator(".score .keepsake").click()
        wanted = {"model": "classes", "seed": 7, "label": 3, "scores": True}
        (drawn,) = client.post("/generate", json=wanted).json()["samples"]
        assert answered.value.json()["scores"][0]["probability"] == drawn["realness"]
        page.wait_for_selector(SETTLED)
        assert page.locator(".dial-number").inner_text() == share(drawn["realness"])
        expect(page.locator(".readings-of-score")).to_contain_text("Scored as class class 3: ")
        page.locator("#score-generated").click()
        expect(page.locator(".score-sheet")).to_contain_text(re.compile(r"The sheet shows seed \d+"))

    def test_an_encoder_draws_again_and_a_code_head_reads_codes(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=bigan&view=score")
        ready(page, proxy)
        drag(page, (0.2, 0.2), (0.8, 0.3))
        page.wait_for_selector(SETTLED)
        body = asked_of(proxy, "/reconstruct")[-1][2]
        (again,) = client.post("/reconstruct?model=bigan", content=body, headers=NPY).json()["reconstructions"]
        assert page.locator(".again-image").get_attribute("src") == again["image"]
        assert float(page.locator(".again strong").inner_text()) == pytest.approx(again["distance"], rel=0.01)
        page.select_option("#package", "infogan 1")
        page.wait_for_selector(".tile")
        page.get_by_role("tab", name="Score").click()
        ready(page, proxy)
        drag(page, (0.2, 0.2), (0.8, 0.3))
        page.wait_for_selector(SETTLED)
        (read,) = client.post("/encode?model=infogan", content=asked_of(proxy, "/encode")[-1][2], headers=NPY).json()[
            "encodings"
        ]
        kind = read["codes"]["kind_0"]
        rows = page.locator("[data-code=kind_0] .reading-words").all_inner_texts()
        assert rows == [share(each) for each in kind["probabilities"]]
        assert page.locator("[data-code=kind_0] .strong .reading-name").inner_text() == str(kind["value"])
        slant = page.locator("[data-code=number_0] .reading-words").inner_text().replace("−", "-")
        assert float(slant) == pytest.approx(read["codes"]["number_0"], rel=0.01)

    def test_a_package_without_discriminator_and_encoder_has_neither_panel(
        self, proxy: Proxy, open_page: OpenPage
    ) -> None:
        page = open_page(proxy.origin, "/#model=blind&view=score")
        page.wait_for_selector(".tile")
        assert page.get_by_role("tab").all_inner_texts() == ["Wall", "Walk"]

    def test_another_package_in_the_middle_of_a_score_starts_anew(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin, "/#model=toy&view=score")
        ready(page, proxy)
        proxy.hold.clear()
        drag(page, (0.2, 0.2), (0.8, 0.3))
        page.wait_for_selector('.score-results[aria-busy="true"]')
        page.evaluate("() => { location.hash = '#model=ring&view=vectors'; }")
        proxy.hold.set()
        page.wait_for_selector(".plot[data-field='64']")
        expect(page.locator(".score")).to_have_count(0)
        expect(page.locator("#banner")).to_be_hidden()


def plotted(page: "Page") -> None:
    page.wait_for_selector(".plot[data-field='64']:not([aria-busy])")


class TestVectors:
    def test_points_and_field_are_what_the_service_answers(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=ring&view=vectors&seed=5", color_scheme="light")
        plotted(page)
        drawn = np.load(
            io.BytesIO(client.post("/generate?format=npy", json={"model": "ring", "n": 1024, "seed": 5}).content)
        )
        real = np.load(io.BytesIO(client.get("/models/ring/versions/1/reference.npy").content))
        cells = [
            [cell.replace("−", "-") for cell in row.locator("td").all_inner_texts()]
            for row in page.locator(".places tbody tr").all()
        ]
        for (number, *places), points in zip(cells, (drawn, real), strict=True):
            assert int(number.replace(",", "")) == len(points)
            found = np.array([[float(each) for each in place.split(" ± ")] for place in places])
            np.testing.assert_allclose(found, np.stack([points.mean(0), points.std(0)], 1), atol=0.0051)
        sent = arrays(asked_of(proxy, "/score"))
        assert {len(each) for each in sent} == {256}
        grid = np.concatenate(sent[1:])
        assert grid.shape == (64 * 64, 2)
        scores = [
            score
            for part in np.split(grid, 4)
            for score in client.post("/score?model=ring", content=npy(part), headers=NPY).json()["scores"]
        ]
        high = np.mean([score["probability"] > 0.5 for score in scores])
        expect(page.locator(".plot-words")).to_contain_text(f"takes {share(float(high))} of the plot for real")
        page.locator("#show-real").uncheck()
        page.locator("#show-generated").uncheck()
        low, middle, top = ((243, 199, 149), (250, 249, 245), (124, 201, 177))
        for place in (64 * 10 + 12, 64 * 40 + 50):
            level = scores[place]["probability"] * 2
            start, end, part = (low, middle, level) if level < 1 else (middle, top, level - 1)
            expected = [a + (b - a) * part for a, b in zip(start, end, strict=True)]
            assert colour(page, (place % 64 + 0.5) / 64, (place // 64 + 0.5) / 64) == pytest.approx(expected, abs=4)

    def test_a_point_is_scored_and_a_generated_one_can_be_kept(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=ring&view=vectors&seed=5")
        plotted(page)
        page.fill("#point-0", "0.25")
        page.locator("#point-0").blur()
        expect(page.locator(".verdict strong")).to_be_visible()
        values = arrays(asked_of(proxy, "/score"))[-1]
        assert values[0, 0] == 0.25
        (score,) = client.post("/score?model=ring", content=npy(values), headers=NPY).json()["scores"]
        assert page.locator(".verdict strong").inner_text() == share(score["probability"])
        drawn = np.load(
            io.BytesIO(client.post("/generate?format=npy", json={"model": "ring", "n": 1024, "seed": 5}).content)
        )
        far = int(drawn[:, 0].argmax())  # nothing is right of it
        page.mouse.click(*pixel_of(page, drawn[far], proxy))
        expect(page.locator(".verdict")).to_contain_text(f"Generated from seed {5 + far}.")
        page.get_by_role("button", name="Keep", exact=True).click()
        expect(page.locator("#tray")).to_contain_text(str(5 + far))
        assert f"kept={5 + far}" in page.url

    def test_of_longer_vectors_coordinates_are_chosen_and_the_others_stand_at_the_mean(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=plain&view=vectors")
        plotted(page)
        expect(page.locator(".plot-words")).to_contain_text("has no reference sample")
        expect(page.locator(".plot-words")).to_contain_text("the other coordinate is at the mean of the generated")
        before = len(asked_of(proxy, "/score"))
        page.fill("#axis-1", "3")
        page.locator("#axis-1").blur()
        page.wait_for_function("() => document.querySelector('.places').textContent.includes('x3')")
        plotted(page)
        drawn = np.load(
            io.BytesIO(client.post("/generate?format=npy", json={"model": "plain", "n": 1024, "seed": 0}).content)
        )
        while len(asked_of(proxy, "/score")) < before + 17:
            page.wait_for_timeout(20)
        grid = np.concatenate(arrays(asked_of(proxy, "/score"))[before + 1 : before + 17])
        np.testing.assert_allclose(grid[:, 1], drawn[:, 1].mean(), atol=1e-5)
        assert (len(np.unique(grid[:, 0])), len(np.unique(grid[:, 2]))) == (64, 64)


def colour(page: "Page", across: float, down: float) -> list[int]:
    """The colour of the plot at shares of its inner rectangle."""
    picture = Image.open(io.BytesIO(page.locator(".plot").screenshot())).convert("RGB")
    inner = (picture.width - LEFT - RIGHT, picture.height - TOP - BOTTOM)
    found = picture.getpixel((round(LEFT + across * inner[0]), round(TOP + down * inner[1])))
    assert isinstance(found, tuple)
    return list(found)


def pixel_of(page: "Page", point: NDArray[np.float32], proxy: Proxy) -> tuple[float, float]:
    """Where a point of two numbers is drawn, by the field's grid, whose cells span the plot."""
    grid = np.concatenate(arrays(asked_of(proxy, "/score"))[1:17])
    low, high = grid.min(axis=0), grid.max(axis=0)
    room = (high - low) / 63 / 2  # from the middle of a cell to its edge
    x, y = map(float, (point - (low - room)) / (high - low + 2 * room))
    box = page.locator(".plot").bounding_box()
    assert box is not None
    inner = (box["width"] - LEFT - RIGHT, box["height"] - TOP - BOTTOM)
    return box["x"] + LEFT + x * inner[0], box["y"] + TOP + (1 - y) * inner[1]


class TestItems:
    def test_items_are_counted_for_a_user_and_scored(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=films&view=items&condition=3&seed=50")
        expect(page.locator(".cell.real").first).to_be_visible()
        wanted = {"model": "films", "n": 1000, "seed": 50, "condition": 3}
        drawn = np.load(io.BytesIO(client.post("/generate?format=npy", json=wanted).content))
        items, counts = np.unique(drawn, return_counts=True)
        order = np.lexsort((items, -counts))
        rows = page.locator("table.items tbody tr")
        assert [int(row.get_attribute("data-item") or -1) for row in rows.all()] == items[order].tolist()
        first = rows.first.locator(".cell").first.inner_text()
        assert first == f"{counts.max()} · {share(counts.max() / 1000)}"
        expect(page.locator("#items-words")).to_contain_text(f"For user 3, 1,000 draws give {len(items)} of 12 items")
        said = client.post("/score?model=films&condition=3", content=npy(items[order]), headers=NPY).json()["scores"]
        assert page.locator(".cell.real").all_inner_texts() == [share(each["probability"]) for each in said]
        page.locator("#sort-score").click()
        best = max(range(len(said)), key=lambda place: said[place]["probability"])
        expect(rows.first).to_have_attribute("data-item", str(items[order][best]))
        page.locator("table.items tbody button").first.click()
        seed = 50 + int(np.flatnonzero(drawn == items[order][best])[0])
        assert f"kept={seed}~u3" in page.url
        page.locator("label.chip", has_text=re.compile("^100 draws")).click()
        expect(page.locator("#items-words")).to_contain_text("For user 3, 100 draws give")
        assert json.loads(asked_of(proxy, "/generate")[-1][2])["n"] == 100


class TestSelect:
    def test_the_same_seeds_are_shown_without_and_with_each_rule(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=unnamed&view=select&seed=9&label=2")
        plain = {"model": "unnamed", "n": 16, "seed": 9, "label": 2, "scores": True}
        for rule, select in (
            ("Best of", {"method": "best-of", "candidates": 8}),
            ("Rejection", {"method": "rejection", "candidates": 64, "gamma": 0}),
            ("Metropolis–Hastings", {"method": "metropolis-hastings", "candidates": 64}),
        ):
            page.locator("label.chip", has_text=rule).click()
            expect(page.locator(".select-result")).to_contain_text(f"{rule}, {select['candidates']} candidates")
            for side, body in zip(page.locator(".select-side").all(), (plain, plain | {"select": select}), strict=True):
                samples = client.post("/generate", json=body).json()["samples"]
                assert side.locator("img").evaluate_all("all => all.map(each => each.src)") == [
                    s["image"] for s in samples
                ]
                mean = float(np.mean([each["realness"] for each in samples]))
                assert side.locator(".select-mean strong").inner_text() == share(mean)
        page.select_option("#candidates", "4")
        expect(page.locator(".select-result")).to_contain_text("Metropolis–Hastings, 4 candidates")

    def test_vectors_are_shown_as_points_on_the_same_axes(
        self, proxy: Proxy, open_page: OpenPage, client: httpx.Client
    ) -> None:
        page = open_page(proxy.origin, "/#model=ring&view=select&seed=9")
        expect(page.locator(".select-result")).to_contain_text("Best of, 8 candidates")
        body = {"model": "ring", "n": 256, "seed": 9, "scores": True, "select": {"method": "best-of", "candidates": 8}}
        samples = client.post("/generate", json=body).json()["samples"]
        mean = float(np.mean([each["realness"] for each in samples]))
        assert page.locator(".select-mean strong").nth(1).inner_text() == share(mean)
        expect(page.locator(".plot").nth(1)).to_have_attribute("aria-label", "With selection: 256 generated vectors")
        inks = [
            len(Image.open(io.BytesIO(plot.screenshot())).getcolors(1 << 20) or [])
            for plot in page.locator(".plot").all()
        ]
        assert min(inks) > 10

    def test_what_the_service_refuses_is_said(self, proxy: Proxy, open_page: OpenPage) -> None:
        proxy.refusals["/generate"] = [Refusal(422, {}, b'{"detail": "at most 1 candidates"}')] * 2
        page = open_page(proxy.origin, "/#model=toy&view=select")
        expect(page.locator(".select-result")).to_have_text("at most 1 candidates")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_panel_has_a_fault_that_axe_finds_or_hangs_out_of_a_narrow_page(
    proxy: Proxy, open_page: OpenPage, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    width = {"light": 1251, "dark": 390}[scheme]
    page = open_page(
        proxy.origin, "/#model=infogan&view=score", color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    ready(page, proxy)
    drag(page, (0.2, 0.2), (0.8, 0.3))
    for address, settled in (
        (None, SETTLED),
        ("#model=ring&view=vectors", ".plot[data-field='64']"),
        ("#model=films&view=items", ".cell.real"),
        ("#model=toy&view=select", ".select-tile img"),
    ):
        if address:
            page.evaluate("hash => { location.hash = hash; }", address)
        page.wait_for_selector(settled)
        found = axe.run(page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], address
        assert fits(page), address
