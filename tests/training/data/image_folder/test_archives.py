"""ZIP and tar archives are read where they lie: the same data as their folder, and one sentence for what is wrong."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.support import small
from tests.support.states import same
from tests.training.data.images import fill, load, together
from training import config, data
from training.data import FolderConfig
from training.data.image_data import what_changed
from training.errors import DataError
from training.loop import run
from training.state import checkpoint
from training.tables import Value


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty cache."""
    monkeypatch.setenv("GANYMEDE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes, something hidden and something else."""
    for name in ("cats", "ümlaut"):
        fill(tmp_path / "pictures" / name, 40)
    fill(tmp_path / "pictures" / ".thumbnails", 1)
    (tmp_path / "pictures" / "notes.txt").write_text("of whom these are")
    return tmp_path / "pictures"


def pack(folder: Path, archive: Path, *, below: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a folder's files into a ZIP or tar archive, below another folder if wanted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", compression) as zipped:
            for path in files:
                zipped.write(path, below + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(archive, "w") as tar:
            for path in files:
                tar.add(path, below + path.relative_to(folder).as_posix())
    return archive


def shards(where: Path, classes: list[str], suffix: str = "cls") -> Path:
    """Write images with labels as WebDataset does, ten a shard; the number is the shade."""
    images = where / "all"
    fill(images, len(classes))
    for start in range(0, len(classes), 10):
        with tarfile.open(where / f"shard-{start // 10:06d}.tar", "w") as tar:
            for number in range(start, min(start + 10, len(classes))):
                tar.add(images / f"{number}.png", f"{number:06d}.png")
                text = classes[number] if suffix == "cls" else json.dumps({"label": classes[number], "width": 6})
                add(tar, f"{number:06d}.{suffix}", text.encode())
    return where / f"shard-{{000000..{(len(classes) - 1) // 10:06d}}}.tar"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def entry_of(archive: bytearray, name: bytes) -> int:
    """Where a member's entry in a ZIP archive's directory begins; its name is at the end of it."""
    return archive.rfind(name) - 46


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("below", ["", "./", "pictures/"])
@pytest.mark.parametrize("keep_from", [1, 1 << 40])
def test_the_archive_of_a_folder_is_the_same_data(
    pictures: Path, tmp_path: Path, suffix: str, below: str, keep_from: int
) -> None:
    archive = pack(pictures, tmp_path / f"packed.{suffix}", below=below)
    expected = load(pictures, labels="folders")
    images = data.folder.load(FolderConfig(path=str(archive), labels="folders"), keep_from)
    assert images.sha256 == expected.sha256
    assert images.label_names == expected.label_names
    assert np.array_equal(images.train, expected.train)
    assert np.array_equal(images.held_out, expected.held_out)
    assert images.train_labels is not None
    assert expected.train_labels is not None
    assert np.array_equal(images.train_labels, expected.train_labels)
    assert any(note.startswith("left out: 1 .txt, 1 hidden") for note in images.notes)
    assert images.fingerprints is not None
    assert expected.fingerprints is not None
    assert str(what_changed(images.fingerprints, expected.fingerprints)) == "the same images"


def test_names_in_a_zip_that_does_not_say_they_are_utf_8_are_those_of_the_folder(
    pictures: Path, tmp_path: Path
) -> None:
    archive = pack(pictures, tmp_path / "packed.zip")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():  # as the archives of macOS have them: the flag is bit 11
            content[member.header_offset + 7] &= ~0x08
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 9] &= ~0x08
        at = content.find(b"PK\1\2", at + 4)
    archive.write_bytes(content)
    assert load(archive).sha256 == load(pictures).sha256


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_members_may_be_stored_or_compressed_in_any_way(pictures: Path, tmp_path: Path, compression: int) -> None:
    archive = pack(pictures, tmp_path / "packed.zip", compression=compression)
    assert load(archive).sha256 == load(pictures).sha256


def test_an_archive_chooses_its_configuration_as_a_folder_does(pictures: Path, tmp_path: Path) -> None:
    archive = pack(pictures, tmp_path / "My pictures.zip")
    chosen, of_folder = (config.from_tables(config.for_folder(str(path))) for path in (archive, pictures))
    assert chosen.name == "my-pictures"
    assert config.first_difference(chosen, of_folder) == 'name is "my-pictures" and was "pictures"'


@pytest.mark.parametrize("suffix", ["cls", "json"])
def test_shards_have_the_classes_of_the_files_beside_their_images(tmp_path: Path, suffix: str) -> None:
    path = shards(tmp_path, [str(number % 3 + 9) for number in range(70)], suffix)
    for pattern in (path, tmp_path / "shard-*.tar"):
        images = load(pattern, labels="sidecars", held_out_fraction=0.3)
        assert images.label_names == ("9", "10", "11")
        assert images.train_labels is not None
        assert images.train_labels.tolist() == [shade % 3 for shade in images.train[:, 0, 0, 0].tolist()]
        assert not any(note.startswith("left out") for note in images.notes)
        assert images.name == "shard"


def test_other_labels_are_other_data(tmp_path: Path) -> None:
    hashes = set()
    for number, first in enumerate("abb"):
        (tmp_path / str(number)).mkdir()
        path = shards(tmp_path / str(number), [first, *("a" if shade % 2 else "b" for shade in range(69))])
        hashes.add(load(path, labels="sidecars", held_out_fraction=0.3).sha256)
    assert len(hashes) == 2


def test_images_in_a_folder_may_have_sidecars_too(tmp_path: Path) -> None:
    fill(tmp_path)
    for number in range(64):
        (tmp_path / f"{number}.cls").write_text("even\n" if number % 2 == 0 else "odd\n")
    assert load(tmp_path, labels="sidecars").label_names == ("even", "odd")
    (tmp_path / "7.cls").write_text(" ")
    with pytest.raises(DataError, match=r"no class in 7\.cls; a \.cls file holds a number or a name"):
        load(tmp_path, labels="sidecars")
    (tmp_path / "7.cls").unlink()
    with pytest.raises(DataError, match=r"no \.cls or \.json beside 7\.png"):
        load(tmp_path, labels="sidecars")


def test_a_name_that_two_shards_have_is_refused(pictures: Path, tmp_path: Path) -> None:
    for number in range(2):
        pack(pictures, tmp_path / f"{number}.tar")
    with pytest.raises(DataError, match=r"0\.tar and 1\.tar: cats/0\.png occurs twice"):
        load(tmp_path / "{0..1}.tar")


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    shards(tmp_path, ["a"] * 30)
    with pytest.raises(DataError, match=r"there is no .*shard-000003\.tar"):
        load(tmp_path / "shard-{000000..000003}.tar")


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("kept", [0.0, 0.4, 0.9])
def test_an_archive_that_is_cut_off_is_refused(pictures: Path, tmp_path: Path, suffix: str, kept: float) -> None:
    archive = pack(pictures, tmp_path / f"packed.{suffix}")
    os.truncate(archive, int(archive.stat().st_size * kept) // 512 * 512)  # whole blocks, which a tar could end with
    with pytest.raises(DataError, match=rf"packed\.{suffix} is (damaged, )?cut off.*; copy it again"):
        load(archive)


def test_an_encrypted_zip_is_refused(pictures: Path, tmp_path: Path) -> None:
    archive = pack(pictures, tmp_path / "packed.zip")
    content = bytearray(archive.read_bytes())
    content[entry_of(content, b"cats/0.png") + 8] |= 1  # its flags
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"packed\.zip is encrypted \(cats/0\.png\); make an archive without"):
        load(archive)


def test_a_member_whose_bytes_changed_is_named(pictures: Path, tmp_path: Path) -> None:
    archive = pack(pictures, tmp_path / "packed.zip", compression=zipfile.ZIP_STORED)
    content = archive.read_bytes()
    image = (pictures / "cats" / "5.png").read_bytes()
    at = content.find(image)
    archive.write_bytes(content[: at + 50] + bytes([content[at + 50] ^ 1]) + content[at + 51 :])
    with pytest.raises(DataError, match=r"1 of 80 images cannot be taken: cats/5\.png is damaged: .*CRC"):
        load(archive)


def test_what_a_member_would_weigh_is_bounded(pictures: Path, tmp_path: Path) -> None:
    archive = pack(pictures, tmp_path / "packed.zip")
    content = bytearray(archive.read_bytes())
    at = entry_of(content, b"cats/0.png")
    content[at + 24 : at + 28] = (1 << 31).to_bytes(4, "little")  # its size, as it is stated
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cats/0\.png would be more than 1,024 MiB each"):
        load(archive)


@pytest.mark.parametrize("name", ["photos.tar.gz", "photos.tgz"])
def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=rf"{name}: a compressed tar cannot be read in place; unpack it to \.tar"):
        load(tmp_path / name)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(DataError, match=r"0\.png is no folder, \.zip or \.tar"):
        load(tmp_path / "0.png")


def test_members_that_point_outside_are_only_names(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "packed.tar")
    with tarfile.open(tmp_path / "packed.tar", "a") as tar:
        add(tar, "../../etc/0.png", (pictures / "cats" / "0.png").read_bytes())
        link = tarfile.TarInfo("cats/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    images = load(tmp_path / "packed.tar")
    assert len(together(images)) == 81
    assert any("1 links in an archive (cats/link.png)" in note for note in images.notes)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same 150 images with labels beside them, as a folder, a ZIP and WebDataset's shards: where each is."""
    root = tmp_path_factory.mktemp("labelled")
    fill(root / "folder", 150, size=(8, 8))
    for number in range(150):
        (root / "folder" / f"{number}.cls").write_text(str(number % 3))
    pack(root / "folder", root / "images.zip")
    for shard in range(3):
        with tarfile.open(root / f"shard-{shard:06d}.tar", "w") as tar:
            for number in range(50 * shard, 50 * (shard + 1)):
                for suffix in ("png", "cls"):
                    tar.add(root / "folder" / f"{number}.{suffix}", f"{number}.{suffix}")
    places = {"folder": "folder", "zip": "images.zip", "shards": "shard-{000000..000002}.tar"}
    return {name: str(root / place) for name, place in places.items()}


def trained(path: str, folder: Path) -> Path:
    """A run of classes on images with labels beside them, with a checkpoint half way."""
    table: dict[str, Value] = {"kind": "folder", "path": path, "labels": "sidecars", "held_out_fraction": 0.5}
    pace: dict[str, Value] = {"total_samples": 96, "log_every_samples": 48, "checkpoint_every_samples": 48}
    quiet: dict[str, Value] = {"every_samples": 0, "classifier": False}
    classes: dict[str, Value] = {"conditional": True}
    run.start(small.config(data=table, generator=classes, trainer=pace, diagnostics=quiet), folder, unheard)
    return folder


def unheard(_line: str) -> None:
    """Read nothing of what a run says."""


@pytest.fixture(scope="module")
def of_the_folder(labelled: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on the folder."""
    return trained(labelled["folder"], tmp_path_factory.mktemp("of_the_folder") / "run")


@pytest.mark.parametrize(("begun", "resumed"), [("zip", "shards"), ("shards", "zip")])
def test_a_run_on_an_archive_that_is_killed_and_resumed_ends_bit_for_bit_as_one_on_its_folder(
    labelled: dict[str, str], of_the_folder: Path, tmp_path: Path, begun: str, resumed: str
) -> None:
    folder = trained(labelled[begun], tmp_path / "run")
    newest = checkpoint.latest(folder)
    assert newest is not None
    newest.unlink()  # as a run is that was killed before it was written
    assert checkpoint.read(folder)["state"]["samples_seen"] == 48
    run.resume(folder, unheard, data_path=labelled[resumed])
    ours, theirs = checkpoint.read(folder), checkpoint.read(of_the_folder)
    assert ours["state"]["samples_seen"] == 96
    assert labelled["folder"] not in ours["config"]
    assert all(same(ours[key], theirs[key]) for key in ("state", "data_sha256", "fingerprints", "label_names"))
