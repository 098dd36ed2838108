"""What follows when something goes wrong in a run: rollbacks, the collapse alarm, and both of them across a resume."""

from pathlib import Path

import pytest

from tests.support import small
from tests.support.states import same
from training.cli import main
from training.config import Config
from training.errors import DivergenceError
from training.loop import run
from training.state import checkpoint, history
from training.tables import Value

Tables = dict[str, dict[str, Value]]

# An affine generator without a gradient (its tanh is saturated) that momentum alone carries on: with both betas at 1/2
# its weights go 1, 1.58, 1.96, 2.21, 2.39 … learning rates far, past the largest float32 (3.4e38) at the fifth step.
OVERFLOWING: Tables = {
    "generator": {"kind": "mlp", "widths": [], "latent_size": 1},
    "objective": {"kind": "non_saturating"},
    "trainer": {
        "total_samples": 96,
        "checkpoint_every_samples": 48,
        "log_every_samples": 16,
        "learning_rate_generator": 1.5e38,
        "learning_rate_final_fraction": 1.0,
        "beta1": 0.5,
        "beta2": 0.5,
    },
}
# Steps so large that its ReLUs are dead within a few of them: every latent leads to the same sample.
COLLAPSING: Tables = {
    "generator": {"norm": "none"},
    "trainer": {"learning_rate_generator": 0.1, "learning_rate_final_fraction": 1.0},
    "diagnostics": {"every_samples": 160},
}


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def after_losing_its_newest_checkpoint(config: Config, folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Rows and events of a whole run, and of the same one resumed from the checkpoint before the last."""
    run.start(config, folder, ignore)
    whole, names = checkpoint.read(folder), (history.METRICS_NAME, history.EVENTS_NAME)
    before = {name: (folder / name).read_bytes() for name in names}
    newest = checkpoint.latest(folder)
    assert newest is not None
    newest.unlink()
    run.resume(folder, ignore)
    assert same(checkpoint.read(folder), whole)
    return before, {name: (folder / name).read_bytes() for name in names}


def test_a_run_that_overflows_goes_back_and_reaches_its_end_with_half_the_learning_rates(tmp_path: Path) -> None:
    run.start(small.config(**OVERFLOWING), tmp_path / "run", ignore)
    (event,) = history.events(tmp_path / "run")
    assert (event.samples, event.event) == (48, "rollback")
    assert event.text == (
        "a weight of the generator is infinite at sample 80; back to sample 48 with 0.5 times the learning rates"
    )
    state = checkpoint.read(tmp_path / "run")["state"]
    assert state["samples_seen"] == 96
    for optimizer, rate in (("generator_optimizer", 1.5e38), ("critic_optimizer", 1e-3)):
        groups = state[optimizer]["param_groups"]  # type: ignore[literal-required]
        assert groups[0]["lr"] == rate / 2
    assert [row["samples"] for row in history.rows(tmp_path / "run")] == [16, 32, 48, 64, 80, 96]


def test_a_run_that_was_interrupted_after_a_rollback_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole, resumed = after_losing_its_newest_checkpoint(small.config(**OVERFLOWING), tmp_path / "run")
    assert resumed == whole


def test_after_its_number_of_rollbacks_a_run_gives_up_and_keeps_a_sound_checkpoint(tmp_path: Path) -> None:
    hopeless: Tables = {
        **OVERFLOWING,
        "trainer": {**OVERFLOWING["trainer"], "total_samples": 960, "checkpoint_every_samples": 16},
        "diagnostics": {"rollback": 1},
    }
    with pytest.raises(DivergenceError, match="training diverged: a weight of the generator is infinite at sample"):
        run.start(small.config(**hopeless), tmp_path / "run", ignore)
    assert [event.event for event in history.events(tmp_path / "run")] == ["rollback", "divergence"]
    state = checkpoint.read(tmp_path / "run")["state"]
    assert all(weight.isfinite().all() for weight in state["generator_side"].values())
    assert (tmp_path / "run" / "report.html").is_file()


def test_without_rollbacks_the_first_overflow_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError):
        run.start(small.config(**OVERFLOWING, diagnostics={"rollback": 0}), tmp_path / "run", ignore)
    (event,) = history.events(tmp_path / "run")
    assert event.event == "divergence"
    assert "is infinite at sample" in event.text


def test_a_generator_that_draws_one_point_raises_the_alarm_which_marks_the_log_and_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, resumed = after_losing_its_newest_checkpoint(small.config(**COLLAPSING), tmp_path / "run")
    (event,) = history.events(tmp_path / "run")
    assert (event.samples, event.event) == (320, "collapse")
    assert event.text.startswith("the generator has collapsed: generated samples differ by ")
    assert f"sample 320: {event.text}" in capsys.readouterr().err
    assert "the generator has collapsed" in (tmp_path / "run" / "report.html").read_text()
    assert resumed == whole


def test_a_run_that_is_to_stop_at_a_collapse_does_so_with_a_checkpoint_and_a_status_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping: Tables = {**COLLAPSING, "diagnostics": {"every_samples": 160, "stop_on_collapse": True}}
    (tmp_path / "run.toml").write_text(small.text(**stopping))
    assert main(["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]) == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("stopped at sample 320: the generator has collapsed: ")
    assert f"`python -m training diagnose {tmp_path / 'run'}` says what to try" in last
    assert checkpoint.read(tmp_path / "run")["state"]["samples_seen"] == 320
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert len(history.events(tmp_path / "run")) == 1


def test_a_sound_run_has_no_events(tmp_path: Path) -> None:
    run.start(small.config(), tmp_path / "run", ignore)
    assert history.events(tmp_path / "run") == []


def test_weights_are_the_same_to_the_bit_with_and_without_measurements(tmp_path: Path) -> None:
    pace: dict[str, Value] = {"total_samples": 320}
    for name, every in (("watched", 32), ("unwatched", 0)):
        run.start(small.config(trainer=pace, diagnostics={"every_samples": every}), tmp_path / name, ignore)
    watched, unwatched = (checkpoint.read(tmp_path / name)["state"] for name in ("watched", "unwatched"))
    assert same(watched, unwatched)
    counts = [
        sum("theory/diversity" in row for row in history.rows(tmp_path / name)) for name in ("watched", "unwatched")
    ]
    assert counts == [10, 0]
