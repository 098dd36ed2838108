"""A data set written as a folder of images: read back it is the same, and it is there as a whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.cli import main
from training.data import DigitsConfig, FolderConfig, ShapesConfig, digits, folder, shapes
from training.data.image_data import ImageData
from training.data.image_folder import writing
from training.errors import DataError

SHAPES = shapes.load(ShapesConfig(image_size=16, train_samples=120, held_out_samples=60))


def _by_name(images: ImageData) -> dict[str, list[bytes]]:
    """Images of both parts by part and class, in the set's order."""
    found: dict[str, list[bytes]] = {}
    for part, pixels, labels in (
        ("train", images.train, images.train_labels),
        ("test", images.held_out, images.held_out_labels),
    ):
        assert labels is not None
        assert images.label_names is not None
        for image, label in zip(pixels, labels, strict=True):
            found.setdefault(f"{part}/{images.label_names[label]}", []).append(image.tobytes())
    return found


@pytest.mark.parametrize("images", [SHAPES, digits.load(DigitsConfig())], ids=["colour", "grey"])
def test_a_written_folder_reads_back_as_the_same_images_classes_and_split(images: ImageData, tmp_path: Path) -> None:
    where = tmp_path / "new" / "pictures"
    writing.write(images, where)
    assert _by_name(folder.load(FolderConfig(path=str(where), labels="folders"))) == _by_name(images)
    assert [path.name for path in where.parent.iterdir()] == ["pictures"]


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"is not empty; choose a folder"):
        writing.write(SHAPES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "here"
    home.mkdir()
    (home / "pictures").write_text("a file that has the name")
    with pytest.raises(DataError, match=r"cannot write .*pictures"):
        writing.write(SHAPES, home / "pictures")
    assert [path.name for path in home.iterdir()] == ["pictures"]


def test_the_command_writes_shapes_of_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "pictures"
    assert main(["data", "shapes", "--out", str(where), "--size", "24", "--samples", "150", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["train"], told["held_out"], told["sample_shape"]) == (150, 30, [3, 24, 24])
    read = folder.load(FolderConfig(path=str(where)))
    assert (read.train.shape, read.held_out.shape) == ((150, 3, 24, 24), (30, 3, 24, 24))
    assert np.unique(read.train).size > 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shapes", "--size", "8"], "data shapes: image_size is 8 but must be an integer of at least 16"),
        (["shapes", "--samples", "0"], "data shapes: train_samples is 0 but must be an integer of at least 30"),
        (["digits", "--size", "32"], "data digits has one size; leave out --size and --samples"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == 2
    assert capsys.readouterr().err.startswith(words)
