"""docs/theory.md: its quotes are lines of the code, its figures are those that the code made."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import lambertw

from tests.support.pages import ROOT, fences
from training.objectives.fgan import Name, divergence_named
from training.verification.figures.f_divergences import cost

PAGE = ROOT / "docs/theory.md"
TEXT = PAGE.read_text(encoding="utf-8")
IMAGES = ROOT / "docs/images/theory"
FACTS: dict[str, dict[str, float]] = json.loads((IMAGES / "facts.json").read_text(encoding="utf-8"))
QUOTES = re.findall(r"^\[[\w/.]+\]\(\.\./([\w/.]+)\)\n\n```py\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
FIGURES = re.findall(
    r"^!\[[^\]]+\]\(images/theory/([\w-]+)\.png\)\n\n\*Figure: (.*?)\n\n", TEXT, re.DOTALL | re.MULTILINE
)
ROWS = [
    [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
    for line in TEXT.splitlines()
    if line.startswith("| `") and line.count("|") == 7
][1:]  # without the header
MOST_BYTES = 120_000
NAMES = {"exp": np.exp, "sqrt": np.sqrt, "tanh": np.tanh, "log": np.log, "abs": np.abs, "pi": 0.5, "a": 0.5}


def test_every_quote_has_its_file() -> None:
    assert len(QUOTES) == len(fences(PAGE, "py")) > 10


@pytest.mark.parametrize(("file", "quote"), QUOTES)
def test_a_quote_stands_in_the_file_that_is_linked(file: str, quote: str) -> None:
    lines = [line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    quoted = [line.strip() for line in quote.splitlines()]
    assert any(lines[place : place + len(quoted)] == quoted for place in range(len(lines)))


def test_every_figure_is_shown_once_and_no_image_is_left_over() -> None:
    assert [name for name, _ in FIGURES] == [path.stem for path in sorted_by_facts()]


def sorted_by_facts() -> list[Path]:
    """The images, in the order of the facts."""
    order = list(FACTS)
    return sorted(IMAGES.glob("*.png"), key=lambda path: order.index(path.stem))


@pytest.mark.parametrize("path", sorted_by_facts(), ids=lambda path: path.stem)
def test_an_image_is_small(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize(("name", "caption"), FIGURES)
def test_the_numbers_of_a_caption_are_those_that_the_code_found(name: str, caption: str) -> None:
    stated = re.findall(r"(?<![\d.±])-?\d+\.\d+(?:e-?\d+)?(?!\d)", caption.replace("−", "-"))
    given = {"0.01", "0.9", "1.0", "0.05", "0.02"}  # of what was asked, not of what was found
    checked = [number for number in stated if number not in given]
    for number in checked:
        digits = len(number.partition("e")[0].partition(".")[2])
        kind = "e" if "e" in number else "f"
        assert float(number) in {float(f"{fact:.{digits}{kind}}") for fact in FACTS[name].values()}, number


def test_the_findings_of_the_runs_are_those_of_the_page() -> None:
    (caption,) = [caption for name, caption in FIGURES if name == "mode-collapse"]
    found = [fact.partition(": ")[2] for fact in FACTS["mode-collapse"] if ": " in fact]
    assert re.findall(r"`(\w+)`", caption)[1:] == found


def evaluated(formula: str, **values: object) -> np.ndarray:
    known = {**NAMES, "W": lambda y: lambertw(y).real, **values}
    return np.asarray(eval(formula, {"__builtins__": {}}, known), dtype=np.float64)  # noqa: S307 - of our own page


@pytest.mark.parametrize(("name", "f", "conjugate", "activation", "missing", "added"), ROWS)
def test_a_row_of_the_table_is_that_of_the_code(
    name: Name, f: str, conjugate: str, activation: str, missing: str, added: str
) -> None:
    row = divergence_named(name)
    u, v = np.array([0.2, 0.7, 1.0, 1.6, 5.0]), np.linspace(-2, 2, 9)
    assert evaluated(f, u=u) == pytest.approx(row.f(torch.from_numpy(u)).numpy(), abs=1e-9)
    t = evaluated(activation, v=v)
    assert t == pytest.approx(row.activation(torch.from_numpy(v)).numpy(), abs=1e-9)
    assert evaluated(conjugate, t=t) == pytest.approx(
        row.conjugate_of_activation(torch.from_numpy(v)).numpy(), abs=1e-7
    )
    for stated, far, farther in ((missing, 1e8, 1e10), (added, 1e-8, 1e-10)):
        near, limit = cost(name, np.array([far, farther])).tolist()
        if stated == "∞":
            assert limit > near + 1
        else:
            assert limit == pytest.approx(float(stated), abs=2e-3)


def test_every_divergence_has_its_row() -> None:
    assert len(ROWS) == 11
    assert [name for name, _, _, _, missing, _ in ROWS if missing == "∞"] == ["kl", "pearson", "jeffrey"]
