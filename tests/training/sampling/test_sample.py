"""`python -m training sample`: pictures, arrays and tables of a run or a package, and what is refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.media.encoders import contact_sheet
from tests.support import exported, small
from training.cli import main
from training.loop import run
from training.tables import Value

ROOT = Path(__file__).parents[3]
MNIST, ITEMS = ROOT / "models/mnist/4", ROOT / "models/planted-items/1"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images that has two checkpoints."""
    return exported.package(tmp_path_factory).parents[2] / "run"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of vectors."""
    place = tmp_path_factory.mktemp("ring") / "run"
    widths: dict[str, Value] = {"kind": "mlp", "widths": [8]}
    config = small.config(
        data={"kind": "ring"},
        generator={**widths, "latent_size": 2},
        discriminator=widths,
        trainer={"total_samples": 64},
        diagnostics={"every_samples": 0},
    )
    run.start(config, place, exported.unheard)
    return place


def sampled(*arguments: str | Path) -> int:
    return main(["sample", *map(str, arguments)])


def test_a_sheet_has_the_pictures_of_the_array_in_the_services_order(digits: Path, tmp_path: Path) -> None:
    assert sampled(digits, "--seeds", "7,9,20-22", "--out", tmp_path / "sheet.png") == 0
    assert sampled(digits, "--seeds", "7,9,20-22", "--out", tmp_path / "samples.npy") == 0
    pixels = np.load(tmp_path / "samples.npy")
    assert (pixels.shape, pixels.dtype) == ((5, 8, 8, 1), np.uint8)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert np.array_equal(sheet, contact_sheet(pixels)[:, :, 0])
    assert sampled(digits, "--seeds", "7,9,20-22", "--out", tmp_path / "row.png", "--columns", "5") == 0
    row = np.asarray(Image.open(tmp_path / "row.png"))
    assert np.array_equal(row, np.concatenate([*pixels[..., 0]], axis=1))


def test_a_folder_has_a_picture_for_each_seed(digits: Path, tmp_path: Path) -> None:
    assert sampled(digits, "--seeds", "3-5", "--out", tmp_path / "pictures") == 0
    assert sampled(digits, "--seeds", "3-5", "--out", tmp_path / "samples.npz") == 0
    kept = np.load(tmp_path / "samples.npz")
    assert sorted(kept.files) == ["latent", "sample", "seed"]
    pictures = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "pictures").iterdir()}
    assert sorted(pictures) == [f"{seed}.png" for seed in kept["seed"]]
    assert np.array_equal(pictures["4.png"], kept["sample"][1, :, :, 0])


def test_an_older_checkpoint_draws_other_pictures_for_the_same_seeds(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheets = {}
    for choice in ("newest", "1280", "960"):
        assert sampled(digits, "--checkpoint", choice, "--out", tmp_path / f"{choice}.png") == 0
        sheets[choice] = (tmp_path / f"{choice}.png").read_bytes()
    assert sheets["newest"] == sheets["1280"] != sheets["960"]
    assert sampled(digits, "--checkpoint", "5", "--out", tmp_path / "none.png") == 2
    assert "no checkpoint of sample 5; it has those of 960, 1280" in capsys.readouterr().err


def test_classes_are_given_by_number_or_name_or_drawn_from_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def labels(*options: str) -> list[int]:
        capsys.readouterr()
        assert sampled(MNIST, "--seeds", "0-2", "--out", tmp_path / "x.npy", *options, "--json") == 0
        return [sample["label"] for sample in json.loads(capsys.readouterr().out)["samples"]]

    assert labels("--label", "7") == labels("--class", "7") == [7, 7, 7]
    assert labels("--label", "7,0,1") == [7, 0, 1]
    drawn = labels()
    pixels = np.load(tmp_path / "x.npy")
    assert labels("--label", ",".join(map(str, drawn))) == drawn
    assert np.array_equal(np.load(tmp_path / "x.npy"), pixels)


def test_vectors_are_printed_or_plotted_over_real_ones(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sampled(ring, "--seeds", "0-1,5") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1", "5"]
    assert sampled(ring, "--seeds", "0-1,5", "--out", tmp_path / "x.npy") == 0
    assert np.allclose(np.load(tmp_path / "x.npy")[2], [float(rows[2]["x0"]), float(rows[2]["x1"])])
    assert sampled(ring, "--seeds", "0-99", "--out", tmp_path / "plot.png") == 0
    colours = np.asarray(Image.open(tmp_path / "plot.png")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) == 3  # the paper, the real points and the drawn ones


def test_items_are_a_table_for_one_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sampled(ITEMS, "--seeds", "0-3", "--condition", "42", "--out", tmp_path / "items.csv") == 0
    rows = list(csv.DictReader((tmp_path / "items.csv").read_text().splitlines()))
    assert [(row["seed"], row["user"]) for row in rows] == [(str(seed), "42") for seed in range(4)]
    assert all(0 <= int(row["item"]) < 120 for row in rows)


@pytest.mark.parametrize(
    ("place", "options", "words"),
    [
        ("digits", (), "images need a place: --out with a .png sheet"),
        ("digits", ("--out", "x.csv"), "x.csv: images are written to a .png sheet, a .npy or .npz array, or a folder"),
        ("digits", ("--out", "x.npy", "--columns", "3"), "--columns is the width of a sheet of images"),
        ("digits", ("--out", "x.png", "--columns", "0"), "--columns is the width of a sheet of images"),
        ("digits", ("--out", "x.png", "--seeds", "5-3"), "--seeds 5-3 runs backwards; write 3-5"),
        ("digits", ("--out", "x.png", "--seeds", "-3"), 'or "7,9,20-29"; not "-3"'),
        ("digits", ("--out", "x.png", "--seeds", "9223372036854775808"), "--seeds are integers from 0 to 2^63 - 1"),
        ("digits", ("--out", "x.png", "--seeds", "0-9223372036854775807"), "are more than 50,000; draw them in parts"),
        ("digits", ("--out", "x.png", "--label", "3"), "is unconditional: it has no classes; leave out --label"),
        ("digits", ("--out", "x.png", "--codes", "digit=3"), "has no codes; leave out --codes"),
        ("digits", ("--out", "x.png", "--condition", "3"), "takes no id to draw for; leave out --condition"),
        ("digits", ("--out", "x.png", "--truncation", "0.05"), "--truncation must be 0.1 or more, not 0.05"),
        ("digits", ("--out", "x.png", "--truncation", "nan"), "--truncation must be 0.1 or more, not nan"),
        ("mnist", ("--out", "x.png", "--label", "ten"), 'there is no class "ten" among 0 to 9; valid are "0", "1"'),
        ("mnist", ("--out", "x.png", "--label", "1,2"), "--label names 2 classes for 64 seeds"),
        ("mnist", ("--out", "x.png", "--checkpoint", "960"), "is a package, which has no checkpoints"),
        ("items", (), "draws for one user; say which, from 0 to 299: --condition 0"),
        ("items", ("--condition", "300"), "there is no user 300; they are from 0 to 299"),
        ("items", ("--condition", "3", "--out", "x.png"), "x.png: items are written to a .npy or .npz array"),
        (
            "items",
            ("--condition", "3", "--truncation", "1"),
            "draws items by Gumbel noise, which truncation would spoil",
        ),
        ("nothing", ("--out", "x.png"), "has no checkpoint; a run starts with"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(
    place: str, options: tuple[str, ...], words: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"digits": digits, "mnist": MNIST, "items": ITEMS, "nothing": tmp_path}
    separated = [f"{name}={value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert sampled(places[place], *separated) == 2
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_package_is_refused_with_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_text('{"generator": {}}')
    assert sampled(tmp_path, "--out", tmp_path / "x.png") == 2
    assert "python -m service check" in capsys.readouterr().err
