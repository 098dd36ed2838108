"""The figures of the theory: what each title and caption states, computed again where it is quick."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from training.cli import main
from training.errors import TrainingError
from training.objectives import Wasserstein
from training.verification.figures import (
    FIGURES,
    convergence,
    f_divergences,
    information,
    optimum,
    saturation,
    transport,
)
from training.verification.figures.base import Drawing, write
from training.verification.games import trained_critic
from training.verification.laws import FAR, TWO_HILLS

ROOT = Path(__file__).parents[3]
FACTS: dict[str, dict[str, float]] = json.loads((ROOT / "docs/images/theory/facts.json").read_text(encoding="utf-8"))


def test_without_a_penalty_the_players_of_the_smallest_game_stay_away_and_with_one_they_arrive() -> None:
    found = convergence.dirac().facts
    assert found == pytest.approx(FACTS["dirac"], rel=1e-3)
    assert found["minimax"] > 1
    assert found["Wasserstein"] > 2
    assert found["relativistic"] > 0.5
    assert max(found[name] for name in convergence.PENALISED) < 0.05


def test_the_minimax_slope_vanishes_as_the_discriminator_wins_and_the_gradients_part() -> None:
    found = saturation.saturation(steps=40).facts
    assert found["minimax_slope"] == pytest.approx(0.01)
    assert found["non_saturating_slope"] == pytest.approx(0.99)
    assert found["answer"] < 0.05
    assert found["minimax_factor"] < 0.1
    assert found["non_saturating_factor"] > 2


def test_where_laws_do_not_meet_only_the_wasserstein_gradient_is_of_use() -> None:
    found = transport.disjoint_supports(np.array([0.1, 1.0])).facts
    assert found == pytest.approx(FACTS["disjoint-supports"], rel=1e-3)
    assert found["jsd"] == pytest.approx(math.log(2), abs=1e-4)
    assert found["minimax_gradient"] < 1e-6
    assert found["non_saturating_gradient"] > 50
    assert found["wasserstein_gradient"] == pytest.approx(1)


def test_clamped_weights_stay_within_the_objectives_bound() -> None:
    critic = trained_critic(Wasserstein(clip=0.02), TWO_HILLS, FAR, steps=10)
    assert max(weight.abs().max().item() for weight in critic.parameters()) <= 0.02


def test_the_value_is_minus_log_4_where_the_laws_agree_and_0_far_apart() -> None:
    assert optimum.value_of(0.0, optimum.best_critic(0.0)) == pytest.approx(-math.log(4))
    assert optimum.value_of(8.0, optimum.best_critic(8.0)) == pytest.approx(0, abs=1e-3)


def test_reverse_kl_seeks_one_mode_and_kl_covers_both() -> None:
    for name in ("kl", "reverse_kl"):
        mean, deviation = f_divergences.optimum(name)
        facts = FACTS["f-divergences"]
        assert (mean, deviation) == pytest.approx(
            (facts[f"{name}_best_mean"], facts[f"{name}_best_deviation"]), rel=1e-2
        )
        assert facts[f"{name}_mean"] == pytest.approx(mean, abs=0.1)
        assert facts[f"{name}_deviation"] == pytest.approx(deviation, abs=0.1)
    assert FACTS["f-divergences"]["kl_deviation"] > 1.5
    assert FACTS["f-divergences"]["reverse_kl_deviation"] < 0.8


def test_a_code_head_reads_what_there_is_to_read_and_never_more() -> None:
    found = information.bound().facts
    assert found["excess"] < 1e-9
    for faithful in (1, 0.8, 0.5):
        assert found[f"bound_{faithful:g}"] == pytest.approx(found[f"information_{faithful:g}"], rel=0.01)


def test_the_figures_that_take_longer_show_what_their_titles_state() -> None:
    assert FACTS["optimal-discriminator"]["error"] < 0.01
    assert FACTS["value"]["trained_excess"] < 1e-4
    assert FACTS["lipschitz"]["penalty_slope"] == pytest.approx(1, abs=0.1)
    assert FACTS["lipschitz"]["clip_slope"] > 5 * FACTS["lipschitz"]["tight_clip_slope"]
    assert FACTS["mode-collapse"]["free_modes"] <= 4
    assert FACTS["mode-collapse"]["free: collapse"] == 1
    assert FACTS["mode-collapse"]["penalised_modes"] == 8
    assert FACTS["mode-collapse"]["penalised: healthy"] == 1
    assert FACTS["joint"]["after"] < 0.1 < FACTS["joint"]["before"]
    assert FACTS["calibration"]["calibrated_error"] < FACTS["calibration"]["raw_error"] / 3
    assert FACTS["calibration"]["selected_jsd"] < FACTS["calibration"]["jsd"] / 3


def test_every_figure_has_its_facts() -> None:
    assert list(FACTS) == list(FIGURES)


def test_a_figure_becomes_a_small_png_and_its_facts_a_file(tmp_path: Path) -> None:
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([0, 1])
    image, facts = write({"line": lambda: Drawing(figure, {"slope": 1 / 3})}, tmp_path / "new")
    assert image.read_bytes().startswith(b"\x89PNG")
    assert image.stat().st_size < 20_000
    assert json.loads(facts.read_text()) == {"line": {"slope": 0.3333}}


def test_a_folder_that_cannot_be_made_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="choose another --out"):
        write({}, tmp_path / "file" / "figures")
    assert main(["theory", "--out", str(tmp_path / "file")]) == 2
    assert "choose another --out" in capsys.readouterr().err
