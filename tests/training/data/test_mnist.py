"""MNIST: found, checked and fetched. What needs the real files reads them from the standard place, or skips."""

import gzip
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from training.data import MnistConfig, mnist
from training.errors import DataError

REAL = mnist.folder()
needs_files = pytest.mark.skipif(
    not all((REAL / f"{name}.gz").exists() for name in mnist.SHA256),
    reason="needs MNIST: fetch it with `python -m training data mnist`",
)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """A folder as a web site on a free port of this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def standard_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANYMEDE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data" / "mnist"


@needs_files
def test_the_real_files_give_the_real_images() -> None:
    images = mnist.load(MnistConfig(path=str(REAL)))
    assert images.train.shape == (60_000, 1, 28, 28)
    assert images.held_out.shape == (10_000, 1, 28, 28)
    assert images.train_labels is not None
    assert images.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert round(float(images.train.mean()) / 255, 4) == 0.1307  # the usual constant of normalisation


@needs_files
def test_unpacked_files_are_the_same_data_as_packed_ones(tmp_path: Path) -> None:
    for name in mnist.SHA256:
        (tmp_path / name).write_bytes(gzip.decompress((REAL / f"{name}.gz").read_bytes()))
    packed, unpacked = (mnist.load(MnistConfig(path=str(folder))) for folder in (REAL, tmp_path))
    assert packed.sha256 == unpacked.sha256
    assert np.array_equal(packed.held_out, unpacked.held_out)


@needs_files
def test_files_are_fetched_from_the_first_mirror_that_has_good_ones(tmp_path: Path, standard_place: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    for name in mnist.SHA256:
        shutil.copy(REAL / f"{name}.gz", good)
        (bad / f"{name}.gz").write_bytes(gzip.compress(b"something else"))
    with mirror(bad) as wrong, mirror(good) as right:
        assert mnist.download((wrong, right)) == standard_place
    assert len(mnist.load(MnistConfig()).train) == 60_000


@needs_files
def test_files_that_are_there_are_not_fetched_again(standard_place: Path) -> None:
    standard_place.mkdir(parents=True)
    for name in mnist.SHA256:
        shutil.copy(REAL / f"{name}.gz", standard_place)
    assert mnist.download(()) == standard_place


def test_a_failed_fetch_says_what_each_mirror_answered_and_leaves_nothing(tmp_path: Path, standard_place: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "train-images-idx3-ubyte.gz").write_bytes(b"not packed at all")
    with mirror(site) as one, mirror(tmp_path) as other, pytest.raises(DataError) as caught:
        mnist.download((one, other))
    assert f"{one}/train-images-idx3-ubyte.gz: Not a gzipped file" in str(caught.value)
    assert f"{other}/train-images-idx3-ubyte.gz: HTTP Error 404" in str(caught.value)
    assert list(standard_place.iterdir()) == []


def test_a_missing_file_says_how_to_get_it(standard_place: Path) -> None:
    with pytest.raises(DataError) as caught:
        mnist.load(MnistConfig())
    for words in (str(standard_place), "train-images-idx3-ubyte", "python -m training data mnist", "--data-path"):
        assert words in str(caught.value)


def test_a_file_with_another_content_is_named_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"123")
    with pytest.raises(DataError) as caught:
        mnist.load(MnistConfig(path=str(tmp_path)))
    for words in (
        str(tmp_path / "train-images-idx3-ubyte"),
        "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ):
        assert words in str(caught.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(DataError, match=r"cannot read .*train-images-idx3-ubyte\.gz: "):
        mnist.load(MnistConfig(path=str(tmp_path)))


def test_a_configured_folder_goes_before_the_standard_place(standard_place: Path) -> None:
    assert mnist.folder("/elsewhere") == Path("/elsewhere")
    assert mnist.folder() == standard_place


def test_without_any_setting_files_are_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANYMEDE_DATA_DIR", raising=False)
    assert mnist.folder() == Path.home() / ".cache" / "ganymede" / "mnist"
