"""Folders of images: real files of every kind, and one sentence for what is wrong with one."""

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.training.data.images import (
    COLOUR_16_BITS,
    fill,
    load,
    png_of_16_bits,
    together,
)
from training import data
from training.data import FolderConfig
from training.errors import DataError


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


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "jfif", "webp", "bmp", "tif", "TIFF", "gif", "avif"])
def test_the_usual_formats_are_read_wherever_they_lie_below(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path / "a" / "b", 32, suffix=suffix)
    fill(tmp_path / "c", 32, suffix=suffix)
    (tmp_path / "notes.txt").write_text("not an image")
    images = load(tmp_path, channels=1)  # WebP has no grey mode
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
    with pytest.raises(DataError, match="has 64 grey images and 1 in colour: set channels = 3 or 1 and") as refusal:
        load(tmp_path)
    assert "has images of 64 of 6x5, 1 of 7x5 (width x height): set image_size = [8, 8]" in str(refusal.value)


def test_a_palette_is_read_as_its_colours(tmp_path: Path) -> None:
    fill(tmp_path, mode="RGB")
    painted = Image.new("P", (6, 5))
    painted.putpalette([200, 100, 50])
    painted.save(tmp_path / "0.png")
    assert (together(load(tmp_path))[:, :, 0, 0] == [200, 100, 50]).all(axis=1).any()


@pytest.mark.parametrize("damage", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_damaged_image_is_named(tmp_path: Path, damage: bytes) -> None:
    fill(tmp_path)
    (tmp_path / "17.png").write_bytes(damage)
    with pytest.raises(DataError, match=r"1 of 64 images cannot be taken: 17\.png is (no image|damaged)"):
        load(tmp_path)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, size=(64, 64))
    noise = np.random.default_rng(0).integers(256, size=(64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "17.png")
    whole = (tmp_path / "17.png").read_bytes()
    (tmp_path / "17.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"1 of 64 images cannot be taken: 17\.png is (no image|damaged)"):
        load(tmp_path)


def test_too_few_images_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, 63)
    with pytest.raises(DataError, match=r"has 63 images where 64 are the least; read are .*\.png"):
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
    with pytest.raises(DataError, match=r"outside every folder of a class: 0\.png"):
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


# What is left out


def test_hidden_files_and_folders_are_left_out_at_any_depth_and_counted(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        fill(tmp_path / name, 40)
        for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            fill(tmp_path / name / hidden, 2)
    fill(tmp_path / ".thumbnails", 3)
    (tmp_path / "cats" / "._0.png").write_bytes(b"a resource fork")
    images = load(tmp_path, labels="folders")
    assert images.label_names == ("cats", "dogs")
    assert len(together(images)) == 80
    assert any("left out: 8 hidden or of the system (.thumbnails, cats/._0.png," in note for note in images.notes)


def test_what_is_not_read_is_counted_by_suffix_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    fill(tmp_path)
    for number in range(3):
        (tmp_path / f"{number}.heic").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("")
    (tmp_path / "LICENSE").write_text("")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    notes = load(tmp_path).notes
    assert "left out: 3 .heic, 1 .csv, 1 without a suffix, 2 linked to nothing (gone.png, itself.png)" in notes
    assert "images: 64 .png" in notes


def test_a_folder_without_images_says_what_it_has_instead(tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / f"{number}.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"has 0 images where 64 are the least; read are .*; left out: 70 \.heic"):
        load(tmp_path)


def test_linked_classes_and_images_are_followed_and_links_back_are_not(tmp_path: Path) -> None:
    fill(tmp_path / "store" / "birds", 40)
    fill(tmp_path / "subset" / "cats", 40)
    fill(tmp_path / "elsewhere", 1, mode="L")
    (tmp_path / "subset" / "birds").symlink_to(tmp_path / "store" / "birds")
    (tmp_path / "subset" / "cats" / "one more.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    (tmp_path / "subset" / "cats" / "back").symlink_to(tmp_path / "subset")
    images = load(tmp_path / "subset", labels="folders")
    assert images.label_names == ("birds", "cats")
    assert len(together(images)) == 81
    assert "left out: 1 linked to a folder above (cats/back)" in images.notes


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        fill(tmp_path / name, 40)
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "0.heic").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image that is read is in the folders birds; .*left out: 1 \.heic"):
        load(tmp_path, labels="folders")


def test_all_damaged_images_are_named_at_once(tmp_path: Path) -> None:
    fill(tmp_path)
    whole = (tmp_path / "9.png").read_bytes()
    for name in ("3.png", "5.png", "x.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "7.png").write_bytes(b"")
    (tmp_path / "9.png").write_bytes(whole[:-30])
    with pytest.raises(
        DataError, match=r"5 of 65 images cannot be taken: 3\.png is no image.*, 5\.png .*7\.png"
    ) as refusal:
        load(tmp_path)
    assert "9.png is damaged" in str(refusal.value)
    assert "x.jpg" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_of_many_damaged_images_twenty_are_named(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    for number in range(50):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"50 of 100 images cannot be taken: .*, and 30 more$"):
        load(tmp_path)


def test_images_with_the_same_bytes_are_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "copy.png").write_bytes((tmp_path / "5.png").read_bytes())
    assert "copies: 1 images have the same bytes as another one" in load(tmp_path).notes


def test_names_that_are_no_utf_8_are_read_and_do_not_end_in_a_traceback(tmp_path: Path) -> None:
    fill(tmp_path)
    images = os.fsencode(tmp_path)
    try:
        (tmp_path / "0.png").rename(os.fsdecode(images + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    assert len(together(load(tmp_path))) == 64
    Path(os.fsdecode(images + b"/caf\xe9.png")).write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 64 images cannot be taken: caf\\xe9\.png is no image"):
        load(tmp_path)


def test_a_class_whose_name_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "dogs", 40)
    fill(tmp_path / "cats", 40)
    try:
        (tmp_path / "cats").rename(os.fsdecode(os.fsencode(tmp_path) + b"/chatt\xe9"))
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    assert len(together(load(tmp_path))) == 80
    with pytest.raises(DataError, match=r"the folders chatt\\xe9 name classes and are not UTF-8; rename them"):
        load(tmp_path, labels="folders")


# Classes and the split


@pytest.mark.parametrize("names", [["0", "1", "2", "10", "11"], ["7", "08", "009", "10"], ["-1", "0", "2"]])
def test_classes_called_by_numbers_are_in_the_order_of_the_numbers(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        fill(tmp_path / name, 30)
    assert load(tmp_path, labels="folders").label_names == tuple(names)


def test_train_and_test_folders_are_the_split_and_not_classes(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        fill(tmp_path / "train" / name, 40)
        fill(tmp_path / "Val" / name, 10)
        fill(tmp_path / "test" / name, 30, size=(6, 5))
    images = load(tmp_path, labels="folders")
    assert images.label_names == ("cats", "dogs")
    assert (len(images.train), len(images.held_out)) == (80, 80)
    assert (
        "held out: by folders: Val 20 held out, test 60 held out, train 80 trained on ([data] held_out)" in images.notes
    )


def test_a_folder_can_be_named_for_those_held_out(tmp_path: Path) -> None:
    fill(tmp_path / "new", 40)
    fill(tmp_path / "old", 30)
    fill(tmp_path / "older", 30)
    images = load(tmp_path, held_out="new")
    assert (len(images.train), len(images.held_out)) == (60, 40)
    with pytest.raises(DataError, match=r"has no images in a folder young, which .* names; it has new, old, older"):
        load(tmp_path, held_out="young")


def test_folders_beside_a_split_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        fill(tmp_path / name, 40)
    with pytest.raises(DataError, match="has extra beside test, train, which look like a split: set held_out in"):
        load(tmp_path)
    assert len(load(tmp_path, held_out="test").held_out) == 40
    assert len(load(tmp_path, held_out="fraction", held_out_fraction=0.5).held_out) not in (40, 80)


def test_a_class_that_only_the_test_folder_has_is_named(tmp_path: Path) -> None:
    for name in ("train/cats", "train/dogs", "test/cats", "test/dogs", "test/birds"):
        fill(tmp_path / name, 20)
    with pytest.raises(DataError, match="no image of birds is trained on"):
        load(tmp_path, labels="folders")


def test_folders_that_could_be_classes_are_told(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        fill(tmp_path / name, 40)
    assert any('labels = "folders" would take' in note and "cats 40, dogs 40" in note for note in load(tmp_path).notes)
    assert "classes: cats 40, dogs 40" in load(tmp_path, labels="folders").notes


# Pixels


def deep_grey(folder: Path, suffix: str, byte_order: str) -> None:
    """A folder of 16-bit grey, of which each image has one value in every pixel."""
    folder.mkdir()
    for number in range(64):
        image = Image.fromarray(np.full((5, 6), 257 * 4 * number, f"{byte_order}u2"))
        image.save(folder / f"{number}.{suffix}")


@pytest.mark.parametrize(("suffix", "byte_order"), [("png", "<"), ("png", ">"), ("tif", "<"), ("tif", ">")])
@pytest.mark.parametrize("options", [{}, {"channels": 1, "image_size": (4, 4)}, {"channels": 3}])
def test_16_bit_grey_keeps_its_shades(tmp_path: Path, suffix: str, byte_order: str, options: dict[str, object]) -> None:
    deep_grey(tmp_path / "deep", suffix, byte_order)
    images = load(tmp_path / "deep", **options)
    assert sorted(together(images)[:, 0, 0, 0].tolist()) == [4 * number for number in range(64)]
    assert any("16-bit grey" in note and "64,764 of 65,535" in note for note in images.notes)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("channels", ["as_is", 1, 3])
def test_pixels_without_a_stated_range_are_refused(tmp_path: Path, dtype: type, channels: object) -> None:
    fill(tmp_path, 64)
    Image.fromarray(np.full((5, 6), 1000, dtype)).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"deep\.tif has pixels of the mode [IF], .*; convert to 8 bits first"):
        load(tmp_path, channels=channels)


def test_16_bit_grey_with_white_as_zero_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 64)
    Image.fromarray(np.full((5, 6), 1000, np.uint16)).save(tmp_path / "film.tif", tiffinfo={262: 0})
    with pytest.raises(DataError, match=r"film\.tif has 16-bit grey with white as zero; convert to 8 bits first"):
        load(tmp_path, channels=1)


def half_transparent(kind: str) -> Image.Image:
    """The left half opaque and grey, the right one white under nothing."""
    image = Image.new("RGBA", (6, 5), (100, 100, 100, 255))
    image.paste((255, 255, 255, 0), (3, 0, 6, 5))
    if kind == "palette":
        painted = Image.new("P", (6, 5), 0)
        painted.putpalette([100, 100, 100, 255, 255, 255])
        painted.paste(1, (3, 0, 6, 5))
        painted.info["transparency"] = 1
        return painted
    if kind == "colour key":
        plain = image.convert("RGB")
        plain.info["transparency"] = (255, 255, 255)
        return plain
    return image.convert(kind)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key"])
@pytest.mark.parametrize("background", ["black", "white"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_images_are_laid_on_the_background(
    tmp_path: Path, kind: str, background: str, channels: int
) -> None:
    fill(tmp_path, 64)
    image = half_transparent(kind)
    image.save(
        tmp_path / "0.png", **({"transparency": image.info["transparency"]} if "transparency" in image.info else {})
    )
    images = load(tmp_path, channels=channels, background=background)
    shown = [0, 255][background == "white"]
    assert any((row[:, 2, :] == [[100] * 3 + [shown] * 3] * channels).all() for row in together(images))
    assert (
        f'converted: 1 are partly transparent and are laid on the background ([data] background = "{background}")'
        in (images.notes)
    )


def test_transparent_webp_is_laid_on_the_background(tmp_path: Path) -> None:
    fill(tmp_path, 64, mode="RGB")
    half_transparent("RGBA").save(tmp_path / "0.webp", lossless=True)
    (tmp_path / "0.png").unlink()
    assert any((image[:, :, 5] == 0).all() for image in together(load(tmp_path, background="black")))


def test_opaque_images_with_an_alpha_channel_are_as_they_would_be_without(tmp_path: Path) -> None:
    fill(tmp_path / "plain", mode="RGB")
    (tmp_path / "alpha").mkdir()
    for path in (tmp_path / "plain").iterdir():
        with Image.open(path) as image:
            image.convert("RGBA").save(tmp_path / "alpha" / path.name)
    images = load(tmp_path / "alpha")
    assert np.array_equal(images.train, load(tmp_path / "plain").train)
    assert not any("transparent" in note for note in images.notes)


def test_transparency_goes_before_the_image_is_scaled(tmp_path: Path) -> None:
    fill(tmp_path, 64, mode="RGB", size=(64, 64))
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red, fully transparent
    image.paste((0, 0, 0, 255), (0, 0, 31, 64))
    image.save(tmp_path / "0.png")
    images = together(load(tmp_path, image_size=(8, 8), background="black"))
    assert any((image == 0).all() for image in images)


@pytest.mark.parametrize("transparent", [(100 * 257,), (100 * 257 + 1,)])
def test_16_bit_grey_has_its_transparent_value_to_the_bit(tmp_path: Path, transparent: tuple[int]) -> None:
    fill(tmp_path, 64, size=(4, 1))
    content = png_of_16_bits([100 * 257] * 4, transparent=transparent[0].to_bytes(2, "big"))
    (tmp_path / "0.png").write_bytes(content)
    shown = 0 if transparent[0] == 100 * 257 else 100
    assert any(
        (image == shown).all() and shown == image[0, 0, 0] for image in together(load(tmp_path, background="black"))
    )


def test_16_bit_colour_with_a_transparent_colour_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 64, mode="RGB", size=(2, 1))
    content = png_of_16_bits(
        [0, 1000, 40000] * 2, colour_type=COLOUR_16_BITS, transparent=struct.pack(">3H", 0, 1000, 40000)
    )
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(DataError, match=r"0\.png has 16-bit colour, one of them transparent; convert to 8 bits first"):
        load(tmp_path)


def test_a_background_that_is_seen_changes_the_hash_of_what_was_read_otherwise_before(tmp_path: Path) -> None:
    # Version 0.6 dropped transparency: a run of it must not go on with other pixels under the same hash.
    fill(tmp_path, 64)
    half_transparent("LA").save(tmp_path / "0.png")
    digest = hashlib.sha256()
    for path in sorted(tmp_path.iterdir(), key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert load(tmp_path, channels=1).sha256 != digest.hexdigest()


def test_the_hash_of_an_ordinary_folder_is_that_of_its_names_and_contents(tmp_path: Path) -> None:
    fill(tmp_path / "ümlaut", 64)
    fill(tmp_path / "z", 64)
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")):
        digest.update(name.encode() + b"\0" + hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert load(tmp_path, labels="folders").sha256 == digest.hexdigest()


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_the_first_frame_is_taken_and_said(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path, 64, mode="RGB")
    frames = [Image.new("RGB", (6, 5), shade) for shade in ("#0000ff", "#00ff00")]
    frames[0].save(tmp_path / f"0.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    (tmp_path / "0.png").unlink()
    images = load(tmp_path)
    assert "converted: 1 have several frames, of which the first is taken" in images.notes
    assert not any((image[1] == 255).all() and (image[2] == 0).all() for image in together(images))


def test_conversions_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "grey", 32)
    fill(tmp_path / "colour", 32, mode="RGB")
    Image.new("CMYK", (6, 5)).save(tmp_path / "press.jpg")
    notes = load(tmp_path, channels=3).notes
    assert "converted: 32 are grey and become RGB" in notes
    assert "converted: 1 are CMYK and become RGB without a colour profile" in notes
    assert "converted: 33 are in colour and become grey" in load(tmp_path, channels=1).notes


def test_what_is_enlarged_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "a", 32, size=(20, 24))
    fill(tmp_path / "b", 32, size=(10, 24))
    notes = load(tmp_path, image_size=(16, 16)).notes
    assert notes[-2 if notes[-1].startswith("copies") else -1] == (
        "size: 16x16, grey; 64 of 10x24 to 20x24 are scaled until they cover it and cropped at the centre; "
        "32 of them are smaller and are enlarged"
    )


def test_sideways_photographs_are_told_and_count_with_the_size_that_they_are_seen_in(tmp_path: Path) -> None:
    fill(tmp_path, size=(5, 6))
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6
    for suffix in ("jpg", "webp", "tif"):
        Image.new("L", (6, 5), 99).save(tmp_path / f"sideways.{suffix}", exif=orientation)
    images = load(tmp_path, channels=1)
    assert images.image_shape == (1, 6, 5)
    assert "converted: 3 are turned upright (EXIF orientation)" in images.notes


def test_an_empty_path_is_not_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"path is empty; name the folder of the images"):
        data.folder.load(FolderConfig(path=""))


# A folder that comes without a configuration


def test_a_folder_without_a_configuration_gets_a_size_channels_and_a_share_that_suit_it(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 200, mode="RGB", size=(90, 120))
    fill(tmp_path / "scans", 1000, size=(28, 20))
    photos, scans = (data.folder.suggested(str(tmp_path / name)) for name in ("photos", "scans"))
    assert (photos.image_size, photos.channels) == ((32, 32), 3)
    assert (scans.image_size, scans.channels, scans.held_out_fraction) == ((20, 28), 1, 0.1)
    assert len(data.folder.load(photos).held_out) >= 64
