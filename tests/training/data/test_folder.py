"""Folders of images: real files of every kind, and one sentence for what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from training import data
from training.data import FolderConfig
from training.errors import DataError


def fill(
    folder: Path, count: int = 64, *, mode: str = "L", size: tuple[int, int] = (6, 5), suffix: str = "png"
) -> None:
    """Write images that all differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new(mode, size, number if mode == "L" else (number, 2 * number, 255)).save(folder / f"{number}.{suffix}")


def load(folder: Path, **options: object) -> data.ImageData:
    return data.folder.load(FolderConfig(path=str(folder), **options))  # type: ignore[arg-type]  # each test's own keys


def test_images_keep_their_bytes_size_and_channels(tmp_path: Path) -> None:
    fill(tmp_path)
    images = load(tmp_path)
    assert images.image_shape == (1, 5, 6)
    shades = np.concatenate([images.train, images.held_out])[:, 0, 0, 0]
    assert sorted(shades.tolist()) == list(range(64))


def test_colour_stays_in_its_channels(tmp_path: Path) -> None:
    fill(tmp_path, mode="RGB")
    images = load(tmp_path)
    assert images.image_shape == (3, 5, 6)
    assert np.array_equal(images.train[:, 1], 2 * images.train[:, 0])
    assert (images.train[:, 2] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp"])
def test_the_usual_formats_are_read_wherever_they_lie_below(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path / "a" / "b", 32, suffix=suffix)
    fill(tmp_path / "c", 32, suffix=suffix)
    (tmp_path / "notes.txt").write_text("not an image")
    images = load(tmp_path, channels=1)  # WebP knows no grey mode
    assert len(images.train) + len(images.held_out) == 64


def test_no_image_is_on_both_sides_and_the_share_is_about_what_was_asked(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    images = load(tmp_path, held_out_fraction=0.3)
    train, held_out = (set(side[:, 0, 0, 0].tolist()) for side in (images.train, images.held_out))
    assert not train & held_out
    assert 40 <= len(held_out) <= 80


def test_a_new_image_moves_no_other_to_the_other_side(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    before = set(load(tmp_path).held_out[:, 0, 0, 0].tolist())
    fill(tmp_path, 150)
    after = set(load(tmp_path).held_out[:, 0, 0, 0].tolist())
    assert before == {shade for shade in after if shade < 100}


def test_the_hash_follows_content_and_names_but_not_the_place(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two")
    assert load(tmp_path / "one").sha256 == load(tmp_path / "two").sha256
    Image.new("L", (6, 5), 77).save(tmp_path / "two" / "3.png")
    assert load(tmp_path / "one").sha256 != load(tmp_path / "two").sha256


def test_different_images_are_brought_to_the_size_and_channels_asked_for(tmp_path: Path) -> None:
    fill(tmp_path / "grey", 32, size=(16, 8))
    fill(tmp_path / "colour", 32, mode="RGB", size=(9, 12))
    images = load(tmp_path, image_size=(4, 6), channels=3)
    assert images.image_shape == (3, 4, 6)


def test_resizing_crops_at_the_centre_instead_of_squeezing(tmp_path: Path) -> None:
    fill(tmp_path)
    wide = Image.new("L", (30, 10), 0)
    wide.paste(255, (10, 0, 20, 10))
    wide.save(tmp_path / "0.png")
    images = load(tmp_path, image_size=(10, 10))
    assert any((image == 255).all() for image in np.concatenate([images.train, images.held_out]))


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    fill(tmp_path, size=(5, 6))
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6  # "turn right to view"
    Image.new("L", (6, 5), 99).save(tmp_path / "sideways.png", exif=orientation)
    assert load(tmp_path).image_shape == (1, 6, 5)


def test_images_of_different_shapes_need_a_word_about_it(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.new("RGB", (7, 5)).save(tmp_path / "zzz.png")
    with pytest.raises(DataError, match=r"zzz\.png is 7x5 RGB but .*0\.png is 6x5 L; set image_size and channels"):
        load(tmp_path)


def test_a_palette_needs_a_word_about_its_channels(tmp_path: Path) -> None:
    fill(tmp_path)
    Image.new("P", (6, 5)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"0\.png has the mode P; set channels"):
        load(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_damaged_image_is_named(tmp_path: Path, damage: bytes) -> None:
    fill(tmp_path)
    (tmp_path / "17.png").write_bytes(damage)
    with pytest.raises(DataError, match=r"17\.png is not a readable image"):
        load(tmp_path)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    noise = np.random.default_rng(0).integers(256, size=(64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "17.png")
    whole = (tmp_path / "17.png").read_bytes()
    (tmp_path / "17.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"17\.png is not a readable image"):
        load(tmp_path)


def test_too_few_images_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, 63)
    with pytest.raises(DataError, match=r"has 63 images \(.*\.png.*\) where 64 are the least"):
        load(tmp_path)


def test_a_split_that_leaves_a_side_empty_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(DataError, match=r"held_out_fraction 1e-06 of 64 images leaves one side empty"):
        load(tmp_path, held_out_fraction=1e-6)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*absent"):
        load(tmp_path / "absent")


def test_folders_are_classes_if_asked(tmp_path: Path) -> None:
    for name in ("cats", "ants", "bees"):
        fill(tmp_path / name, 40)
    assert load(tmp_path).classes == 0
    images = load(tmp_path, labels="folders")
    assert images.label_names == ("ants", "bees", "cats")
    assert images.train_labels is not None
    assert images.held_out_labels is not None
    together = np.concatenate([images.train_labels, images.held_out_labels])
    assert np.bincount(together).tolist() == [40] * 3
    assert (np.diff(images.train_labels) >= 0).all()  # in the order of the relative names


def test_an_image_outside_every_class_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "cats", 64)
    fill(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png lies in no folder of a class"):
        load(tmp_path, labels="folders")


def test_one_class_is_none(tmp_path: Path) -> None:
    fill(tmp_path / "cats", 64)
    with pytest.raises(DataError, match="has one class, cats; there is nothing to tell apart"):
        load(tmp_path, labels="folders")


def test_a_class_of_one_image_cannot_be_on_both_sides(tmp_path: Path) -> None:
    fill(tmp_path / "cats", 64)
    fill(tmp_path / "dogs", 1)
    with pytest.raises(DataError, match="no image of dogs is held out; it needs more images"):
        load(tmp_path, labels="folders")
