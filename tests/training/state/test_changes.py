"""A run that goes on longer, or with other data: what is recorded, and that it stays exact."""

import shutil
from pathlib import Path
from typing import cast

import pytest

from tests.support import small
from tests.support.states import same
from tests.training.data import images
from training import config as configuration
from training import data as sources
from training.diagnostics import report
from training.errors import CheckpointError
from training.export.provenance import provenance
from training.loop import run
from training.state import changes, checkpoint, history
from training.state.checkpoint import Checkpoint
from training.tables import Value

SHORT, LONG = 96, 192
PACE: dict[str, Value] = {"log_every_samples": 48, "checkpoint_every_samples": 48, "grid_every_samples": 9_600}
QUIET: dict[str, Value] = {"every_samples": 0, "classifier": False}


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def begun(folder: Path, **changed: dict[str, Value]) -> Path:
    trainer = {**PACE, "total_samples": SHORT, **changed.pop("trainer", {})}
    run.start(small.config(trainer=trainer, diagnostics=QUIET, **changed), folder, ignore)
    return folder


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def killed_after(folder: Path, samples: int) -> Path:
    """As a run is that was killed before its next checkpoint."""
    for path in (folder / checkpoint.FOLDER).glob("*.pt"):
        if int(path.stem) > samples:
            path.unlink()
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has reached its length."""
    return begun(tmp_path_factory.mktemp("runs") / "short")


@pytest.fixture(scope="module")
def extended(short: Path) -> Path:
    """The same, trained twice as long."""
    longer = copied(short, "extended")
    run.resume(longer, ignore, total_samples=LONG)
    return longer


def test_a_longer_run_says_what_happens_to_its_schedules_and_records_it(extended: Path) -> None:
    (event,) = history.events(extended)
    assert event.samples == SHORT
    assert event.text.startswith(
        "total_samples set from 96 to 192: every schedule is from here on that of a run of 192 samples, which takes "
        "the generator's learning rate from 0.0001 to 0.00055, "
    )
    assert "gamma_r1 from 0.05 to 0.275" in event.text
    trained = checkpoint.load_run(extended)
    assert (trained.samples_seen, trained.config.trainer.total_samples) == (LONG, LONG)
    assert [(change.event, change.details["was"], change.details["now"]) for change in trained.history] == [
        ("total_samples", SHORT, LONG)
    ]
    assert event.text in (extended / report.FILE_NAME).read_text().replace("&#x27;", "'")
    data = sources.load(trained.config.data)
    assert provenance(trained, data, {})["history"] == [change.plain() for change in trained.history]


def test_a_run_that_was_made_longer_killed_and_resumed_ends_bit_for_bit_as_one_that_was_made_longer(
    extended: Path,
) -> None:
    broken = killed_after(copied(extended, "broken"), 144)
    run.resume(broken, ignore)
    assert same(checkpoint.read(broken), checkpoint.read(extended))
    for name in (history.METRICS_NAME, history.EVENTS_NAME):
        assert (broken / name).read_bytes() == (extended / name).read_bytes()


def test_a_process_that_is_killed_while_it_makes_a_run_longer_has_made_it_so_or_not(
    short: Path, extended: Path
) -> None:
    torn = copied(short, "torn")
    saved = checkpoint.read(torn)
    config, change = changes.with_length(checkpoint.config_of(torn, saved), saved, torn, LONG)
    assert change is not None
    half: Checkpoint = {**saved, "config": configuration.dumps(config), "history": [change.plain()]}
    checkpoint.save(torn, half)  # and not the run's configuration
    run.resume(torn, ignore)
    assert same(checkpoint.read(torn), checkpoint.read(extended))


def test_without_schedules_a_run_made_longer_is_one_that_was_long_from_the_start(tmp_path: Path) -> None:
    constant: dict[str, dict[str, Value]] = {
        "objective": {"gamma_final_fraction": 1.0},
        "trainer": {"learning_rate_final_fraction": 1.0},
    }
    longer = begun(tmp_path / "longer", **constant)
    run.resume(longer, ignore, total_samples=LONG)
    assert "which changes none of their values here" in history.events(longer)[0].text
    constant["trainer"] = {"learning_rate_final_fraction": 1.0, "total_samples": LONG}
    long = begun(tmp_path / "long", **constant)
    assert same(checkpoint.read(longer)["state"], checkpoint.read(long)["state"])


def test_the_length_that_a_run_has_changes_nothing_and_less_than_it_has_seen_is_refused(
    short: Path, extended: Path
) -> None:
    said: list[str] = []
    run.resume(copied(extended, "again"), said.append, total_samples=LONG)
    assert said[0].endswith("again is 192 samples already; nothing is changed")
    with pytest.raises(
        CheckpointError, match=r"has seen 96 samples, more than --total-samples 80; .* choose 96 or more"
    ):
        run.resume(short, ignore, total_samples=80)


def test_a_length_that_is_changed_in_the_file_is_refused_with_the_option_to_use(short: Path) -> None:
    edited = copied(short, "edited")
    file = edited / checkpoint.CONFIG_NAME
    file.write_text(file.read_text().replace(f"total_samples = {SHORT}", f"total_samples = {LONG}"))
    with pytest.raises(CheckpointError, match=r"put it back, and .*resume .*edited --total-samples 192` changes it"):
        run.resume(edited, ignore)


def test_an_older_checkpoint_of_a_longer_run_is_still_read(short: Path, extended: Path) -> None:
    both = copied(extended, "both")
    (older,) = (path for path in (short / checkpoint.FOLDER).glob("*.pt") if int(path.stem) == SHORT)
    shutil.copy(older, both / checkpoint.FOLDER)
    assert checkpoint.load_run(both, SHORT).config.trainer.total_samples == SHORT


def test_a_checkpoint_without_a_history_goes_on_as_before(short: Path) -> None:
    old = copied(short, "old")
    saved = checkpoint.read(old)
    for key in ("history", "data_samples", "label_names", "fingerprints"):
        del saved[key]  # type: ignore[misc]  # as before 0.10.0
    checkpoint.save(old, saved)
    run.resume(old, ignore, total_samples=LONG)
    assert checkpoint.load_run(old).samples_seen == LONG


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Path, Path]:
    """A run on a folder of images that has more images by now, and the folder."""
    pictures = tmp_path / "pictures"
    images.fill(pictures, 150, size=(8, 8))
    table: dict[str, Value] = {"kind": "folder", "path": str(pictures), "held_out_fraction": 0.5}
    trained = begun(tmp_path / "run", data=table, trainer={"critic_steps": 2})
    images.fill(pictures / "more", 60, size=(8, 8))
    return trained, pictures


def test_a_run_goes_on_with_data_that_has_grown_where_that_is_asked_for_and_stays_exact(
    grown: tuple[Path, Path], tmp_path: Path
) -> None:
    trained, _ = grown
    before = checkpoint.read(trained)
    with pytest.raises(CheckpointError, match=r"was trained on other data: 60 new images; .* --data-changed` goes on"):
        run.resume(trained, ignore)
    said: list[str] = []
    run.resume(trained, said.append, total_samples=LONG, data_changed=True)
    after = checkpoint.read(trained)
    length, data = checkpoint.changes_of(after)
    assert (length.event, data.event, data.samples, data.details["position"]) == ("total_samples", "data", SHORT, 192)
    assert data.details["was"] == {"sha256": before["data_sha256"], "samples": before["data_samples"]}
    assert data.details["now"]["sha256"] == after["data_sha256"] != before["data_sha256"]  # type: ignore[index]
    assert after["data_samples"] > before["data_samples"]
    assert data.details["images"] == {"new": 60, "gone": 0, "replaced": 0}
    assert f"to {after['data_samples']} (60 new images), and its SHA-256" in data.text
    assert any(f"at sample 96: {data.text}" in line for line in said)
    broken = killed_after(Path(shutil.copytree(trained, tmp_path / "broken")), 144)
    run.resume(broken, said.append, data_changed=True)
    assert any("is what it was; nothing is changed" in line for line in said)
    assert same(checkpoint.read(broken), after)


def test_other_labels_of_the_same_images_are_told_apart_from_other_images(tmp_path: Path) -> None:
    images.fill(tmp_path)
    for number in range(64):
        (tmp_path / f"{number}.cls").write_text(str(number % 2))
    before = images.load(tmp_path, labels="sidecars", held_out_fraction=0.5)
    (tmp_path / "3.cls").write_text("0")
    after = images.load(tmp_path, labels="sidecars", held_out_fraction=0.5)
    saved = cast("Checkpoint", {"data_sha256": before.sha256, "fingerprints": changes.fingerprints(before)})
    with pytest.raises(CheckpointError, match="other data: the same images, labelled or read otherwise; its SHA-256"):
        changes.with_data(small.config(), saved, tmp_path, after, allowed=False)


def test_data_that_does_not_fit_the_networks_is_refused(grown: tuple[Path, Path]) -> None:
    trained, pictures = grown
    shutil.rmtree(pictures)
    images.fill(pictures, 150, size=(8, 9))
    with pytest.raises(CheckpointError, match=r"are for samples of 1x8x8, and the new data has 1x9x8; .*train --init"):
        run.resume(trained, ignore, data_changed=True)


def test_classes_that_are_more_or_change_their_order_are_refused(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for name in ("cats", "dogs"):
        images.fill(pictures / name, 75, size=(8, 8))
    table: dict[str, Value] = {"kind": "folder", "path": str(pictures), "held_out_fraction": 0.5, "labels": "folders"}
    generator: dict[str, Value] = {"conditional": True}
    trained = begun(tmp_path / "run", data=table, generator=generator)
    (pictures / "dogs").rename(pictures / "apes")
    with pytest.raises(CheckpointError, match=r'class 0 of .* is "cats", and in the new data it is "apes"'):
        run.resume(trained, ignore, data_changed=True)
    images.fill(pictures / "birds", 75, size=(8, 8))
    with pytest.raises(CheckpointError, match=r"are for 2 classes, and the new data has 3; .*train --init"):
        run.resume(trained, ignore, data_changed=True)
