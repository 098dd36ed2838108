"""The playground in a real browser over the running service, and over a network that fails.

Every page is watched: an error in its console, a violation of its security policy or a request to another host fails
the test that opened it.
"""

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry
from tests.live.conftest import OpenPage
from tests.support.proxy import Proxy, Refusal
from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package

expect = pytest.importorskip("playwright.sync_api").expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

WORKERS: Final = 2
BUSY: Final = Refusal(
    429, {"retry-after": "1", "content-type": "application/problem+json"}, b'{"detail": "the queue is full"}'
)
LOADING: Final = Refusal(503, {}, b"")
LOST: Final = Refusal("lost")
ONE_FITS: Final = "52MiB"  # beside the default, one package of a graph of 9 MiB, which takes 33 MB, and not two
# Every code, a class and a condition beside the seed.
EVERY: Final = "#model=every&seed=7&label=2&truncation=0.7&condition=3&codes=kind_0:1&codes=number_0:0.25"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with a package that takes everything, and others that lack something."""
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy")
    write_toy_package(
        folder, "every", conditional=True, label_count=3, condition_count=5, categorical=(3,), continuous=((-1.0, 1.0),)
    )
    write_toy_package(folder, "many", conditional=True, label_count=65, prior="uniform", channels=3, height=6, width=10)
    write_toy_package(folder, "blind", discriminator=False, height=160, width=160)
    with ServiceProcess(folder, rescan_interval_s=0.2) as process:
        yield process.loaded()


@pytest.fixture(scope="module")
def origin(played: ServiceProcess) -> str:
    return f"http://127.0.0.1:{played.port}"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where a service is that asks for keys, and a key of it."""
    folder = tmp_path_factory.mktemp("keyed")
    write_toy_package(folder / "models", "toy")
    key, _ = make_key("browser", Entry(sha256="0" * 64), folder / "keys.toml")
    with ServiceProcess(folder / "models", keys_file=folder / "keys.toml") as process:
        process.loaded()
        yield f"http://127.0.0.1:{process.port}", key


@pytest.fixture(scope="module")
def ask(played: ServiceProcess) -> Iterator[httpx.Client]:
    with played.client() as client:
        yield client


@pytest.fixture
def proxy(played: ServiceProcess) -> Iterator[Proxy]:
    with Proxy(played.port) as running:
        yield running


def filled(page: "Page") -> "Locator":
    """The samples of the wall, once there are some."""
    page.wait_for_selector(".wall:not(.stale) .tile")
    return page.locator(".tile")


def names(page: "Page") -> list[str]:
    filled(page)
    found: list[str] = page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => tile.getAttribute('aria-label'))")
    return found


def seeds(page: "Page") -> list[int]:
    return [int(re.match(r"seed (\d+)", name)[1]) for name in names(page)]  # type: ignore[index]


def picture(tile: "Locator") -> bytes:
    """The file that a sample of the wall is shown from."""
    return base64.b64decode((tile.locator("img").get_attribute("src") or "").removeprefix("data:image/png;base64,"))


def drawings(proxy: Proxy) -> list[dict[str, Any]]:
    """What the page asked /generate for."""
    return [json.loads(body) for _, path, body in proxy.asked if path == "/generate"]


def keep(page: "Page", *places: int) -> None:
    tiles = filled(page)
    for place in places:
        tiles.nth(place).click()


def snippet(page: "Page", name: str) -> str:
    return page.locator(f"[data-snippet={name}] pre").inner_text()


class TestTheWall:
    def test_it_shows_samples_with_seed_class_and_realness(
        self, origin: str, open_page: OpenPage, ask: httpx.Client
    ) -> None:
        page = open_page(origin, "/#model=every&seed=7")
        assert re.fullmatch(r"seed 7, class \d, realness \d+%", names(page)[0])
        drawn = ask.post("/generate", json={"model": "every", "seed": 7, "condition": 0, "scores": True}).json()[
            "samples"
        ][0]
        assert names(page)[0] == f"seed 7, {drawn['label_name']}, realness {round(drawn['realness'] * 100)}%"
        assert page.locator(".tile img").first.get_attribute("src") == drawn["image"]

    def test_three_answers_of_the_service_lead_to_the_first_samples(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin)
        filled(page)
        paths = [path for _, path, _ in proxy.asked if path != "/" and not path.startswith("/playground/")]
        assert paths[:3] == ["/models", "/models/toy/versions/1", "/generate"]
        assert drawings(proxy)[0] == {"model": "toy", "version": "1", "n": 24, "seed": 0, "scores": True}

    def test_it_fills_as_one_scrolls_with_one_request_a_chunk(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin, "/#model=toy&seed=100")
        before = len(seeds(page))
        page.mouse.move(700, 400)
        while len(found := seeds(page)) < before + 200:
            page.mouse.wheel(0, 4000)
        assert found == list(range(100, 100 + len(found)))
        asked = drawings(proxy)
        assert [each["seed"] for each in asked] == [100, *(124 + 64 * chunk for chunk in range(len(asked) - 1))]

    def test_samples_without_a_discriminator_have_no_realness_and_come_in_small_chunks(
        self, origin: str, open_page: OpenPage
    ) -> None:
        page = open_page(origin, "/#model=blind")
        assert names(page)[0] == "seed 0"
        assert page.locator(".tile img").first.evaluate("image => getComputedStyle(image).imageRendering") == "auto"

    def test_it_ends_where_numbers_are_no_longer_exact(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, f"/#model=toy&seed={2**53 - 3}")
        assert seeds(page) == [2**53 - 3, 2**53 - 2, 2**53 - 1]

    def test_keys_move_in_it(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy&seed=0")
        filled(page).first.focus()
        tops = page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => tile.offsetTop)")
        columns = tops.count(tops[0])
        for key, seed in (
            ("ArrowRight", 1), ("ArrowDown", 1 + columns), ("ArrowLeft", columns), ("End", 2 * columns - 1),
            ("Home", columns), ("ArrowUp", 0), ("ArrowLeft", 0), ("PageDown", 4 * columns), ("Control+Home", 0),
        ):  # fmt: skip
            page.keyboard.press(key)
            assert page.evaluate("() => document.activeElement.drawn.seed") == seed, key
        page.keyboard.press("Enter")
        expect(page.locator(".tile").first).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.classList.contains('tile')") is False


class TestControls:
    def test_each_changes_what_is_asked_for(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=every&seed=5")
        filled(page)
        first = {"model": "every", "version": "1", "n": 24, "seed": 5, "condition": 0, "scores": True}

        def asks(act: Callable[[], None], **changes: object) -> None:
            """Act, and wait for the request that follows."""
            first.update(changes)
            with page.expect_request(lambda request: request.method == "POST" and request.post_data_json == first):
                act()

        def enter(label: str, text: str) -> None:
            page.get_by_label(label).fill(text)
            page.keyboard.press("Enter")

        asks(lambda: page.get_by_role("radio", name="class 2").check(force=True), label=2)
        asks(lambda: enter("user (0 to 4)", "9"), condition=4)
        asks(lambda: page.get_by_label("Truncation").fill("0.7"), truncation=0.7)
        kind = page.get_by_role("group", name="kind_0")
        asks(lambda: kind.get_by_role("radio", name="1").check(force=True), codes={"kind_0": 1})
        asks(lambda: page.get_by_label("number_0").fill("0.5"), codes={"kind_0": 1, "number_0": 0.5})
        asks(lambda: page.get_by_role("button", name="from the seed").click(), codes={"kind_0": 1})
        asks(lambda: enter("First seed", "41"), seed=41)
        assert seeds(page)[0] == 41
        page.get_by_role("button", name="New seeds").click()
        expect(page.get_by_label("First seed")).not_to_have_value("41")

    def test_what_is_no_longer_wanted_is_cancelled(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin, "/#model=toy&seed=5")
        filled(page)
        proxy.hold.clear()
        with page.expect_event("requestfailed") as failed:
            page.keyboard.press("n")
            page.keyboard.press("n")
        assert failed.value.url == f"{proxy.origin}/generate"
        proxy.hold.set()
        assert seeds(page)[0] == int(page.get_by_label("First seed").input_value())

    def test_many_classes_are_a_list(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=many&seed=5")
        filled(page)
        page.get_by_label("Class", exact=True).select_option("class 64")
        expect(page.locator(".tile").first).to_have_attribute("aria-label", re.compile("seed 5, class 64,"))
        assert all(name.startswith(f"seed {5 + place}, class 64") for place, name in enumerate(names(page)))


class TestKeptSamples:
    @pytest.mark.parametrize("fragment", ["#model=toy&seed=3", EVERY, "#model=every&seed=3", "#model=many&seed=1"])
    def test_what_is_copied_draws_the_same_bytes(
        self, origin: str, open_page: OpenPage, tmp_path: Path, fragment: str
    ) -> None:
        page = open_page(origin, f"/{fragment}", permissions=["clipboard-read", "clipboard-write"])
        keep(page, 2)
        shown = picture(page.locator(".tile").nth(2))
        page.locator("#tray .keepsake").click()
        copied = {}
        for name in ("Address", "curl", "Python"):
            page.get_by_role("button", name=f"Copy: {name}").click()
            expect(page.get_by_role("button", name=f"Copy: {name}")).to_have_text("Copied")
            copied[name] = page.evaluate("() => navigator.clipboard.readText()")
        answer = httpx.get(copied["Address"], trust_env=False)
        assert (answer.status_code, answer.content) == (200, shown)  # 200: no redirection
        assert "immutable" in answer.headers["cache-control"]
        for number, command in enumerate((shlex.split(copied["curl"]), [sys.executable, "-c", copied["Python"]])):
            folder = tmp_path / str(number)
            folder.mkdir()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            (file,) = folder.iterdir()
            assert file.read_bytes() == shown

    def test_they_are_there_again_after_a_reload_and_from_a_link(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, EVERY.replace("#", "/#"))
        keep(page, 0, 3)
        page.get_by_role("tab", name="Walk").click()
        expect(page.locator("#tray .keepsake")).to_have_count(2)
        link = page.url
        other = open_page(origin, link.removeprefix(origin))
        expect(other.locator("#tray .keepsake")).to_have_count(2)
        expect(other.get_by_role("tab", name="Walk")).to_have_attribute("aria-selected", "true")
        other.get_by_role("tab", name="Wall").click()
        assert names(other)[:4] == names(open_page(origin, EVERY.replace("#", "/#")))[:4]
        expect(other.locator('.tile[aria-pressed="true"]')).to_have_count(2)
        page.goto(f"{origin}/#model=toy")
        filled(page)
        expect(page.locator("#tray")).to_be_hidden()
        page.get_by_label("Package", exact=True).select_option("every 1")
        expect(page.locator("#tray .keepsake")).to_have_count(2)

    def test_a_link_does_not_mix_with_what_is_kept_here(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy")
        keep(page, 1)
        page.goto("about:blank")
        page.goto(f"{origin}/#model=toy&kept=50,60")
        expect(page.locator("#tray .keepsake")).to_have_count(2)
        keep(page, 4)
        page.goto("about:blank")
        page.goto(origin)
        expect(page.locator("#tray .keepsake")).to_have_count(1)

    def test_a_browser_that_refuses_storage_keeps_them_in_the_address(self, origin: str, open_page: OpenPage) -> None:
        refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused') }})"
        page = open_page(origin, "/#model=toy", script=refuse)
        keep(page, 1)
        expect(page.locator("#tray .keepsake")).to_have_count(1)
        assert page.url.endswith("&kept=1")
        page.reload()
        expect(page.locator("#tray .keepsake")).to_have_count(1)

    def test_one_can_be_looked_through_and_removed(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy&kept=1,2,3")
        page.locator("#tray .keepsake").first.click()
        dialog = page.get_by_role("dialog", name="seed 1")
        expect(dialog.locator("dd").nth(1)).to_have_text(re.compile(r"\d+%"))
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("dialog", name="seed 2")).to_be_visible()
        page.get_by_role("button", name="Remove").click()
        expect(page.locator("#tray .keepsake")).to_have_count(2)
        assert "kept=1,3" in page.url
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#tray")).to_be_hidden()


# What the film shows, and what it would show of a file.
SHOWN: Final = "canvas => canvas.toDataURL()"
DRAWN: Final = """source => new Promise(done => { const image = new Image(); image.onload = () => {
    const canvas = document.querySelector('.film').cloneNode(); const drawing = canvas.getContext('2d');
    drawing.imageSmoothingEnabled = false; drawing.drawImage(image, 0, 0, canvas.width, canvas.height);
    done(canvas.toDataURL()) }; image.src = source })"""


class TestTheWalk:
    def test_it_begins_and_ends_at_the_kept_samples(self, proxy: Proxy, open_page: OpenPage) -> None:
        page = open_page(proxy.origin, EVERY.replace("#", "/#"), reduced_motion="reduce")
        keep(page, 0)
        ends = [page.locator(".tile img").first.get_attribute("src")]
        with page.expect_response("**/generate"):
            page.get_by_role("radio", name="class 1").check(force=True)
        keep(page, 5)
        ends.append(page.locator(".tile img").nth(5).get_attribute("src"))
        page.get_by_role("button", name="Walk").click()
        film, position = page.locator(".film"), page.get_by_label("Position on the walk")
        expect(film).to_have_attribute("data-frames", "33")
        for place, end in enumerate(ends):
            position.fill(str(place))
            expect(film).to_have_attribute("data-frames", "33")
            assert film.evaluate(SHOWN) == page.evaluate(DRAWN, end)
        paths = [each for each in drawings(proxy) if "interpolate" in each]
        assert [each["interpolate"]["steps"] for each in paths] == [9, 33, 9, 33]  # there, and back: fetched ahead
        assert paths[1]["labels"] == [2] * 16 + [1] * 17
        assert paths[1]["truncation"] == 0.7

    def test_it_plays_pauses_and_leaves_stops_out(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy&view=walk&kept=1,2,3")
        position = page.get_by_label("Position on the walk")
        page.wait_for_function("() => document.querySelector('#position')?.value > 0.3")
        page.get_by_role("button", name="Pause").click()
        stopped = position.input_value()
        page.get_by_role("list", name="Stops").get_by_role("button", name="seed 3").click()
        expect(position).to_have_attribute("max", "2")
        page.get_by_role("list", name="Stops").get_by_role("button", name="seed 2").click()
        expect(page.locator("#live")).to_have_text("A walk needs two stops.")
        assert position.input_value() == stopped
        page.get_by_role("button", name="Play").click()
        page.wait_for_function(f"() => document.querySelector('#position')?.value > {stopped}")

    def test_it_can_be_left_while_the_next_leg_is_fetched(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy&kept=1,2,3")

        def is_second_leg(request: "Request") -> bool:
            return '"interpolate":{"from":2,' in (request.post_data or "")

        page.route("**/generate", lambda route: None if is_second_leg(route.request) else route.continue_())
        with page.expect_request(is_second_leg):
            page.get_by_role("tab", name="Walk").click()
        page.get_by_role("tab", name="Wall").click()
        filled(page)

    def test_it_stands_still_for_people_who_ask_for_that(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy&view=walk&kept=1,2", reduced_motion="reduce")
        expect(page.locator(".film")).to_have_attribute("data-frames", "33")
        expect(page.get_by_role("button", name="Play")).to_be_visible()
        assert page.get_by_label("Position on the walk").input_value() == "0"

    def test_two_at_random_are_kept(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=every&view=walk")
        page.get_by_role("button", name="Two at random").click()
        expect(page.locator(".film")).to_have_attribute("data-frames", "33")
        expect(page.locator("#tray .keepsake")).to_have_count(2)


class TestFaults:
    @pytest.mark.parametrize(
        ("refusal", "words"),
        [
            (BUSY, "The service has more requests than it can answer (429: the queue is full). Trying again in 1 s."),
            (LOADING, "The service is not ready (503: Service Unavailable). Trying again in 1 s."),
            (LOST, "The service cannot be reached. Trying again in 1 s."),
            (Refusal("cut"), "The connection to the service was lost. Trying again in 1 s."),
        ],
        ids=["busy", "loading", "lost", "cut off"],
    )
    def test_what_passes_is_said_in_words_and_tried_again(
        self, proxy: Proxy, open_page: OpenPage, refusal: Refusal, words: str
    ) -> None:
        proxy.refusals["/generate"] = [refusal]
        page = open_page(proxy.origin)
        expect(page.locator("#banner span")).to_have_text(words)
        page.get_by_role("button", name="Try now").click()
        assert seeds(page)[0] == 0
        expect(page.locator("#banner")).to_be_hidden()

    def test_a_service_that_is_away_is_waited_for_from_the_first_request(
        self, proxy: Proxy, open_page: OpenPage
    ) -> None:
        proxy.refusals["/models"] = [LOST, LOADING]
        page = open_page(proxy.origin)
        for _ in range(2):
            page.get_by_role("button", name="Try now").click()
        assert seeds(page)[0] == 0

    @pytest.mark.parametrize(
        ("name", "others"), [("toy", []), ("blind", ["toy"])], ids=["nothing is ready", "another is ready"]
    )
    def test_a_package_that_still_loads_is_waited_for(
        self, proxy: Proxy, open_page: OpenPage, name: str, others: list[str]
    ) -> None:
        states = {name: "loading", **dict.fromkeys(others, "ready")}
        models = [
            {"name": name, "default": False, "versions": [{"version": "1", "state": state}]}
            for name, state in states.items()
        ]
        body = json.dumps({"models": models}).encode()
        proxy.refusals["/models"] = [Refusal(200, {"content-type": "application/json"}, body)]
        page = open_page(proxy.origin, f"/#model={name}&version=1")
        expect(page.locator("#panel")).to_have_text(f"Not ready yet: {name} 1 is loading.")
        assert seeds(page)[0] == 0
        expect(page.get_by_label("Package", exact=True)).to_have_value(f"{name} 1")

    def test_a_package_that_is_out_of_memory_is_loaded_when_it_is_chosen(
        self, tmp_path: Path, open_page: OpenPage
    ) -> None:
        models = tmp_path / "models"
        write_toy_package(models, "toy")
        for name in ("first", "second"):
            write_toy_package(models, name, discriminator=False, latent_size=256, height=48, width=48)
        with ServiceProcess(models, default_model="toy", memory_budget=ONE_FITS) as process:
            process.loaded()
            page = open_page(f"http://127.0.0.1:{process.port}")
            filled(page)
            choice = page.get_by_label("Package", exact=True)
            words = "loaded when chosen"
            (out,) = (each for each in choice.get_by_role("option").all_text_contents() if words in each)
            name = out.split()[0]
            assert name in {"first", "second"}
            choice.select_option(f"{name} 1")
            expect(page).to_have_title(f"{name} · Ganymede playground")
            filled(page)
            expect(choice.get_by_role("option").filter(has_text=words)).not_to_contain_text(name)

    @pytest.mark.parametrize("metrics", [{"images": {"generated": {"frechet_distance": None, "recall": "x"}}}, None, 7])
    def test_a_package_may_have_any_provenance(
        self, proxy: Proxy, ask: httpx.Client, open_page: OpenPage, metrics: object
    ) -> None:
        details = ask.get("/models/toy/versions/1").json()
        details["provenance"] = {"metrics": metrics, "objective": {"a": 1}, "data": None, "samples_seen": "many"}
        answer = Refusal(200, {"content-type": "application/json"}, json.dumps(details).encode())
        proxy.refusals["/models/toy/versions/1"] = [answer]
        page = open_page(proxy.origin)
        assert seeds(page)[0] == 0
        assert "8 × 8, grey" in (page.locator("#about").text_content() or "")

    def test_what_does_not_pass_is_said_where_the_samples_would_be(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=every&label=77")
        expect(page.locator(".wall-end")).to_contain_text("label")
        page.get_by_role("radio", name="class 2").check(force=True)
        assert seeds(page)[0] == 0

    def test_a_package_that_is_not_served_is_said_and_another_shown(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=gone&version=3&label=2&kept=1,2")
        expect(page.locator("#banner")).to_contain_text("gone 3 is not served; this is toy 1.")
        filled(page)
        expect(page.locator("#tray")).to_be_hidden()
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#banner")).to_be_hidden()

    @pytest.mark.parametrize(
        "fragment",
        ["#model=toy&seed=-1&label=x&truncation=&codes=a&codes=:&kept=,~,7~,x~l1,7~lx,7~:", "#%00=%ff&&&=", "#panel"],
    )
    def test_a_broken_link_is_read_as_far_as_it_can_be(self, origin: str, open_page: OpenPage, fragment: str) -> None:
        assert seeds(open_page(origin, f"/{fragment}"))[0] == 0


class TestThePage:
    def test_it_works_behind_a_prefix(self, played: ServiceProcess, open_page: OpenPage) -> None:
        with Proxy(played.port, "/gan") as proxy:
            page = open_page(proxy.origin, "/gan/#model=toy")
            keep(page, 0)
            page.locator("#tray .keepsake").click()
            assert snippet(page, "address").startswith(f"{proxy.origin}/gan/models/toy/versions/1/samples/0.png?")
            assert page.locator("#tray img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 8

    def test_keys_act_unless_they_are_turned_off(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy", color_scheme="light")
        filled(page)
        page.keyboard.press("d")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"
        page.keyboard.press("2")
        expect(page.get_by_role("tab", name="Walk")).to_have_attribute("aria-selected", "true")
        page.get_by_role("tab", name="Walk").press("ArrowLeft")
        expect(page.get_by_role("tab", name="Wall")).to_be_focused()
        page.get_by_label("First seed").press("d")  # a letter in a field is a letter
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Wall").press("?")
        page.get_by_label("Use single-key shortcuts").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("d")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")

    def test_the_browsers_back_leads_back(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy")
        filled(page)
        page.get_by_label("Package", exact=True).select_option("many 1")
        expect(page.locator(".tile").first).to_have_attribute("aria-label", re.compile("class"))
        page.get_by_role("tab", name="Walk").click()
        page.go_back()
        expect(page.get_by_role("tab", name="Wall")).to_have_attribute("aria-selected", "true")
        page.go_back()
        expect(page.locator(".tile").first).to_have_attribute("aria-label", re.compile(r"seed \d+, realness"))

    def test_a_link_can_be_copied_over_plain_http_too(self, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin, "/#model=toy", permissions=["clipboard-read", "clipboard-write"])
        filled(page)
        page.evaluate("() => Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
        page.get_by_role("button", name="Link").click()
        page.evaluate("() => delete navigator.clipboard")
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("() => navigator.clipboard.readText()") == page.url

    def test_axe_finds_nothing(self, origin: str, open_page: OpenPage) -> None:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

        def check(page: "Page") -> None:
            """Every rule in light colours, and contrast in dark ones."""
            for theme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
                page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
                found = axe.run(page, options=options).response["violations"]
                assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []

        page = open_page(origin, f"/{EVERY}&kept=7~l2,8~l1", reduced_motion="reduce")
        filled(page)
        page.locator("#about summary").click()
        check(page)
        page.locator("#tray .keepsake").first.click()
        expect(page.locator("#details dd").last).to_have_text(re.compile("%"))
        check(page)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        check(page)
        page.keyboard.press("Escape")
        page.set_viewport_size({"width": 360, "height": 740})
        page.get_by_role("tab", name="Walk").click()
        expect(page.locator(".film")).to_have_attribute("data-frames", "33")
        check(page)
        expect(page.locator("#settings")).to_be_hidden()  # a walk has no controls
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360

    def test_a_package_that_comes_later_appears(self, played: ServiceProcess, origin: str, open_page: OpenPage) -> None:
        page = open_page(origin)
        filled(page)
        write_toy_package(played.models_dir, "late")
        played.wait_for("package ready", package="late/1")
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_label("Package", exact=True)).to_contain_text("late 1")
        write_toy_package(played.models_dir, "later")
        played.wait_for("package ready", package="later/1")
        page.evaluate("() => dispatchEvent(new Event('focus'))")
        expect(page.get_by_label("Package", exact=True)).to_contain_text("later 1")

    def test_several_processes_serve_the_same_page(self, tmp_path: Path, open_page: OpenPage) -> None:
        write_toy_package(tmp_path / "models", "toy")
        with ServiceProcess(tmp_path / "models", api_workers=WORKERS).loaded() as process:
            filled(open_page(f"http://127.0.0.1:{process.port}"))
            with process.client() as client:
                pages = {client.get("/", headers={"connection": "close"}).content for _ in range(4 * WORKERS)}
            assert len(pages) == 1

    def test_it_can_be_turned_off(self, tmp_path: Path) -> None:
        write_toy_package(tmp_path / "models", "toy")
        with ServiceProcess(tmp_path / "models", playground="off") as process, process.client() as client:
            for path in ("/", "/playground/0123456789abcdef/main.js"):
                answer = client.get(path)
                assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


class TestKeys:
    def test_it_asks_for_one_and_keeps_it_for_the_tab_alone(
        self, keyed: tuple[str, str], open_page: OpenPage, tmp_path: Path
    ) -> None:
        origin, key = keyed
        page = open_page(origin, permissions=["clipboard-read", "clipboard-write"])
        field = page.get_by_label("Key", exact=True)
        expect(field).to_be_focused()
        field.fill("of another service, and long enough to be one")
        field.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("The service does not know this key")
        field.fill(key)
        field.press("Enter")
        keep(page, 2)
        shown = picture(page.locator(".tile").nth(2))
        expect(page.locator("#tray .thumb")).to_have_js_property("naturalWidth", 8)
        page.locator("#tray .keepsake").click()
        for name in ("curl", "Python"):
            page.get_by_role("button", name=f"Copy: {name}").click()
            expect(page.get_by_role("button", name=f"Copy: {name}")).to_have_text("Copied")
            copied = page.evaluate("() => navigator.clipboard.readText()")
            assert key not in copied
            command = ["bash", "-c", copied] if name == "curl" else [sys.executable, "-c", copied]
            folder = tmp_path / name
            folder.mkdir()
            environment = os.environ | {"GANYMEDE_KEY": key}
            subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
            (file,) = folder.iterdir()
            assert file.read_bytes() == shown
        page.reload()
        filled(page)
        expect(page.locator("#ask")).to_be_hidden()
        assert key not in page.url
        assert key not in page.evaluate("() => JSON.stringify(localStorage)")

    def test_without_one_it_says_what_is_missing_and_can_be_tried_again(
        self, keyed: tuple[str, str], open_page: OpenPage
    ) -> None:
        origin, key = keyed
        page = open_page(origin)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#panel")).to_contain_text("This needs a key")
        page.get_by_role("button", name="Try again").click()
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Use this key").click()
        filled(page)
