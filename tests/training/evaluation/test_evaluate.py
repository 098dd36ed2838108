"""The table of figures, and the floor beside it."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from training.data import digits
from training.evaluation import Evaluation, evaluate, reference_rows
from training.evaluation.classifier import Recipe, obtain
from training.evaluation.tables import metrics_table

DIGITS = digits.load(digits.DigitsConfig())


@pytest.fixture(scope="module")
def of_held_out(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    judge = obtain(DIGITS, tmp_path_factory.mktemp("cache"), Recipe(samples=12_800))
    return evaluate(DIGITS.held_out, DIGITS, judge)


def test_the_held_out_images_themselves_are_perfect(of_held_out: Evaluation) -> None:
    figures = of_held_out.generated
    assert figures.frechet_distance == pytest.approx(0, abs=1e-6)
    assert figures.neighbourhoods.coverage == 1
    assert figures.modes.captured == 10


def test_the_floor_is_made_of_as_many_training_images(of_held_out: Evaluation) -> None:
    floor = of_held_out.real
    assert of_held_out.samples == of_held_out.held_out == sum(floor.modes.histogram) == 256
    assert floor.frechet_distance > 0.1
    assert floor.neighbourhoods.precision > 0.8


def test_images_are_compared_with_the_class_they_were_asked_to_be(of_held_out: Evaluation) -> None:
    assert of_held_out.generated.label_accuracy is None
    assert DIGITS.held_out_labels is not None
    judge, wrong = of_held_out.classifier, DIGITS.held_out_labels.copy()
    wrong[:64] = (wrong[:64] + 1) % 10
    right, mistaken = (evaluate(DIGITS.held_out, DIGITS, judge, labels) for labels in (DIGITS.held_out_labels, wrong))
    assert right.generated.label_accuracy == judge.accuracy == right.real.label_accuracy
    assert mistaken.generated.label_accuracy == pytest.approx(judge.accuracy - 64 / 256, abs=8 / 256)
    assert any("of the class asked for" in line for line in metrics_table(right))


def test_noise_is_told_from_digits(of_held_out: Evaluation) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 1, 8, 8), dtype=np.uint8)
    figures = evaluate(noise, DIGITS, of_held_out.classifier).generated
    assert figures.frechet_distance > 10 * of_held_out.real.frechet_distance
    assert figures.neighbourhoods.precision < 0.2
    assert figures.kernel_distance > of_held_out.real.kernel_distance


def test_the_summary_names_the_classifier_that_the_figures_rest_on(of_held_out: Evaluation) -> None:
    summary = of_held_out.summary()
    assert summary["classifier"] == {
        "accuracy": of_held_out.classifier.accuracy,
        "sha256": of_held_out.classifier.sha256,
        "recipe": dataclasses.asdict(Recipe(samples=12_800)),
    }
    assert isinstance(summary["generated"], dict)
    assert {"frechet_distance", "coverage", "histogram", "confident_share"} <= summary["generated"].keys()


def test_the_table_has_the_generated_figures_beside_the_real_ones(of_held_out: Evaluation) -> None:
    lines = metrics_table(of_held_out)
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert {line.count("|") for line in table} == {4}
    (distance,) = (line for line in table if "Fréchet" in line)
    assert distance.split("|")[3].strip() == f"{of_held_out.real.frechet_distance:.3f}"


def test_ten_thousand_held_out_images_are_spread_over_more() -> None:
    many = np.arange(25_000, dtype=np.uint32).view(np.uint8).reshape(25_000, 1, 2, 2)
    chosen = reference_rows(replace(DIGITS, held_out=many))
    assert len(chosen) == 10_000
    assert chosen[0] == 0
    assert chosen[-1] > 24_990
    assert (np.diff(chosen) >= 2).all()
