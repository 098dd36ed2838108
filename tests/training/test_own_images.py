"""The page for people with images of their own: its commands are typed in order, its advice is that of the code."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.pages import ROOT, commands
from training import config as configuration
from training import networks
from training.cli import main
from training.diagnostics.advice import REMEDIES, advice_for
from training.keys import find
from training.networks.base import Task
from training.networks.residual.r3gan import LearntMap

PAGE = ROOT / "docs/train-on-your-own-images.md"
PICTURES, SIDE = 160, 8
# Of the page's minutes: as few samples as make a run with a grid, and no classifier to tell them apart.
SHORTER = {
    "total_samples": "384",
    "log_every_samples": "192",
    "grid_every_samples": "192",
    "checkpoint_every_samples": "192",
}


def draw_pictures(folder: Path) -> None:
    """Draw discs of one colour on a ground of another, one file each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    for number in range(PICTURES):
        x, y, radius = rng.uniform(2, SIDE - 2), rng.uniform(2, SIDE - 2), rng.uniform(1, 3)
        inside = np.hypot(across - x, down - y) < radius
        pixels = np.where(inside[..., None], rng.integers(0, 256, 3), rng.integers(0, 256, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


def shortened(folder: Path) -> Path:
    """The shipped configuration of folders, for a run of seconds."""
    text = find("r3gan-folder").read_text()
    for key, value in SHORTER.items():
        line = f"{key} = {value}"
        text, found = re.subn(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        if not found:
            text = text.replace("[trainer]\n", f"[trainer]\n{line}\n")
    short = folder / "short.toml"
    short.write_text(text + "\n[diagnostics]\nclassifier = false\n")
    return short


@pytest.mark.slow
def test_the_commands_of_the_page_lead_from_a_folder_to_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(configuration, "FOR_FOLDERS", str(shortened(tmp_path)))
    typed = [shlex.split(each.line.removeprefix("nice "), comments=True) for each in commands(PAGE)]
    for words in typed:
        match words:
            case ["python", "-m", "training", *arguments]:
                assert main(arguments) == 0, (arguments, capsys.readouterr())
            case ["cp", source, target]:
                Path(target).write_text(Path(source).read_text())
    printed = capsys.readouterr()
    assert "images: 160 .png" in printed.out + printed.err
    assert list((tmp_path / "runs/mine/grids").iterdir())
    assert (tmp_path / "runs/mine/report.html").exists()
    assert {path.name for path in (tmp_path / "models/mine/1").iterdir()} >= {"manifest.json", "preview.png", "card.md"}


ROWS = [line.split(" | ") for line in PAGE.read_text().splitlines() if re.match(r"\| `[a-z]+`", line)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_page_advises_what_diagnose_does(row: list[str]) -> None:
    names = re.findall(r"`(\w+)`", row[0])
    assert REMEDIES.keys() >= set(names)
    config = configuration.load(find("r3gan-folder"))
    advised = {key for name in names for advice in advice_for(name, config) for key in advice.keys}
    tried = set(re.findall(r"\b(?:pack|kind|[a-z]+(?:_[a-z0-9]+)+)\b", row[-1]))
    assert tried
    assert tried <= advised


def test_every_key_of_the_page_is_one() -> None:
    text = PAGE.read_text()
    tables = configuration.to_tables(configuration.load(find("r3gan-folder")))
    for section, key in re.findall(r"`\[(\w+)\] (\w+)", text):
        assert key in tables[section], (section, key)


def test_the_tables_for_photos_fit_the_configuration_and_the_stated_sizes() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    begun = configuration.to_tables(configuration.load(find("r3gan-folder")))
    config = configuration.from_tables({**begun.pop(""), **begun, **tomllib.loads(block)})
    fit = Task((3, 32, 32))
    generator, discriminator = (
        networks.generator(config.generator, fit),
        networks.discriminator(config.discriminator, fit),
    )
    basis = next(module.basis for module in generator.modules() if isinstance(module, LearntMap))
    assert basis.shape == (96, 4, 4)
    assert discriminator(generator(torch.randn(2, 64))).shape == (2,)
