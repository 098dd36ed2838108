"""Interactions from files: found, checked, split. What needs MovieLens reads it from the standard place, or skips."""

from pathlib import Path

import numpy as np
import pytest

from training.data import InteractionsConfig, rating_files
from training.errors import DataError

REAL = rating_files.folder()
needs_files = pytest.mark.skipif(
    not all((REAL / name).exists() for name in rating_files.SHA256),
    reason=f"needs MovieLens-100k in IRGAN's split, in {REAL}",
)
TRAIN = "0\t0\t5\n0\t2\t4\n0\t3\t3\n1\t1\t4\n1\t2\t4\n2\t5\t1\n"
TEST = "0\t1\t5\n1\t0\t2\n2\t4\t4\n"


def written(folder: Path, train: str = TRAIN, test: str = TEST) -> InteractionsConfig:
    (folder / "small-train.txt").write_text(train)
    (folder / "small-test.txt").write_text(test)
    return InteractionsConfig(path=str(folder), stem="small")


@needs_files
def test_the_real_files_have_the_counts_of_irgans_protocol() -> None:
    data = rating_files.load(InteractionsConfig())
    assert (data.users, data.items) == (943, 1682)
    assert (len(data.pairs), len(np.unique(data.train_labels))) == (44_140, 942)
    assert (len(data.test), len(np.unique(data.held_out_labels))) == (11_235, 456)


def test_four_stars_and_more_make_an_item_relevant(tmp_path: Path) -> None:
    data = rating_files.load(written(tmp_path))
    assert data.pairs.tolist() == [[0, 0], [0, 2], [1, 1], [1, 2]]
    assert data.test.tolist() == [[0, 1], [2, 4]]


def test_low_ratings_count_towards_the_number_of_users_and_items(tmp_path: Path) -> None:
    data = rating_files.load(written(tmp_path))
    assert (data.users, data.items) == (3, 6)


def test_a_sample_is_an_item_and_its_label_the_user(tmp_path: Path) -> None:
    data = rating_files.load(written(tmp_path))
    assert (data.train.tolist(), data.train_labels.tolist()) == ([0, 2, 1, 2], [0, 0, 1, 1])
    assert (data.sample_shape, data.classes) == ((), 3)


def test_the_hash_is_of_both_files(tmp_path: Path) -> None:
    hashes = {
        rating_files.load(written(tmp_path, *texts)).sha256 for texts in ((), (TRAIN, "0\t1\t5\n"), ("1\t1\t5\n",))
    }
    assert len(hashes) == 3


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*movielens-100k-train\.txt; .*--data-path"):
        rating_files.load(InteractionsConfig(path=str(tmp_path)))


def test_a_file_with_a_published_name_must_have_the_published_content(tmp_path: Path) -> None:
    (tmp_path / "movielens-100k-train.txt").write_text(TRAIN)
    with pytest.raises(DataError, match=r"is not movielens-100k-train\.txt as published: its SHA-256 is "):
        rating_files.load(InteractionsConfig(path=str(tmp_path)))


@pytest.mark.parametrize("damaged", ["", "0\t1\n", "0\t1\tmany\n", "-1\t1\t5\n", "0\t1\t5\n0\t2\n"])
def test_a_file_that_is_no_list_of_ratings_is_refused(tmp_path: Path, damaged: str) -> None:
    with pytest.raises(DataError, match="user, item and stars, parted by tabs"):
        rating_files.load(written(tmp_path, damaged))


def test_a_configured_folder_goes_before_the_standard_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANYMEDE_DATA_DIR", str(tmp_path))
    assert rating_files.folder("/elsewhere") == Path("/elsewhere")
    assert rating_files.folder() == tmp_path / "ml-100k"
