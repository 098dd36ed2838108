"""The table of figures, and the floor beside it."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from training.data import digits
from training.evaluation import Evaluation, evaluate, reference_rows
from training.evaluation.classifier import Classifier, Recipe, obtain
from training.evaluation.random_convolutions import fit
from training.evaluation.tables import metrics_table

DIGITS = digits.load(digits.DigitsConfig())


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return obtain(DIGITS, tmp_path_factory.mktemp("cache"), Recipe(samples=12_800))


@pytest.fixture(scope="module")
def of_held_out(judge: Classifier) -> Evaluation:
    return evaluate(DIGITS.held_out, DIGITS, judge)


@pytest.fixture(scope="module")
def unlabelled() -> Evaluation:
    data = replace(DIGITS, train_labels=None, held_out_labels=None, label_names=None)
    return evaluate(DIGITS.train[:256], data, fit(data, 256))


def test_the_held_out_images_themselves_are_perfect(of_held_out: Evaluation) -> None:
    figures = of_held_out.generated
    assert figures.frechet_distance == pytest.approx(0, abs=1e-6)
    assert figures.neighbourhoods.coverage == 1
    assert figures.modes is not None
    assert figures.modes.captured == 10


def test_the_floor_is_made_of_as_many_training_images(of_held_out: Evaluation) -> None:
    floor = of_held_out.real
    assert floor.modes is not None
    assert of_held_out.samples == of_held_out.held_out == sum(floor.modes.histogram) == 256
    assert floor.frechet_distance > 0.1
    assert floor.neighbourhoods.precision > 0.8


def test_images_are_compared_with_the_class_they_were_asked_to_be(judge: Classifier, of_held_out: Evaluation) -> None:
    assert of_held_out.generated.label_accuracy is None
    assert DIGITS.held_out_labels is not None
    wrong = DIGITS.held_out_labels.copy()
    wrong[:64] = (wrong[:64] + 1) % 10
    right, mistaken = (evaluate(DIGITS.held_out, DIGITS, judge, labels) for labels in (DIGITS.held_out_labels, wrong))
    assert right.generated.label_accuracy == judge.accuracy == right.real.label_accuracy
    assert mistaken.generated.label_accuracy == pytest.approx(judge.accuracy - 64 / 256, abs=8 / 256)
    assert any("of the class asked for" in line for line in metrics_table(right))


def test_noise_is_told_from_digits(of_held_out: Evaluation) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 1, 8, 8), dtype=np.uint8)
    figures = evaluate(noise, DIGITS, of_held_out.judge).generated
    assert figures.frechet_distance > 10 * of_held_out.real.frechet_distance
    assert figures.neighbourhoods.precision < 0.2
    assert figures.kernel_distance > of_held_out.real.kernel_distance


def test_the_summary_names_the_classifier_that_the_figures_rest_on(judge: Classifier, of_held_out: Evaluation) -> None:
    summary = of_held_out.summary()
    assert summary["classifier"] == {
        "accuracy": judge.accuracy,
        "sha256": judge.sha256,
        "recipe": dataclasses.asdict(Recipe(samples=12_800)),
    }
    assert summary["features"] == {"kind": "classifier", "dimensions": 128, "sha256": judge.sha256}
    assert isinstance(summary["generated"], dict)
    assert {"frechet_distance", "coverage", "histogram", "confident_share"} <= summary["generated"].keys()


def test_the_table_has_the_generated_figures_beside_the_real_ones(of_held_out: Evaluation) -> None:
    lines = metrics_table(of_held_out)
    table = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table}) == 1
    assert {line.count("|") for line in table} == {5}
    (distance,) = (line for line in table if "Fréchet" in line)
    low, high = of_held_out.real.intervals["frechet_distance"]
    assert distance.split("|")[3].strip() == f"{of_held_out.real.frechet_distance:.4f} ({low:.4f} to {high:.4f})"
    assert distance.split("|")[4].strip() == f"{of_held_out.blobs.frechet_distance:.4f}"


def test_every_figure_has_an_interval_that_holds_it(unlabelled: Evaluation, of_held_out: Evaluation) -> None:
    for figures in (unlabelled.generated, unlabelled.real, of_held_out.real):
        numbers = {name: value for name, value in figures.flat().items() if isinstance(value, float)}
        assert figures.intervals.keys() == numbers.keys()
        for name, value in numbers.items():
            low, high = figures.intervals[name]
            assert low < high, name
            assert low - 1e-9 <= value <= high + 1e-9, name


def test_images_without_labels_have_the_figures_that_need_none(unlabelled: Evaluation) -> None:
    figures = unlabelled.generated
    assert figures.modes is None
    assert figures.neighbourhoods.precision > 0.8
    assert unlabelled.blobs.neighbourhoods.precision < 0.1
    summary = unlabelled.summary()
    assert "classifier" not in summary
    assert isinstance(summary["features"], dict)
    assert summary["features"]["kind"] == "random_convolutions"
    assert not any("class" in line for line in metrics_table(unlabelled))


def test_few_images_in_many_dimensions_are_warned_of(of_held_out: Evaluation, unlabelled: Evaluation) -> None:
    (warning,) = of_held_out.warnings()
    assert warning.startswith("256 images in 128 dimensions are few: below 1,280 the Fréchet distance is biased")
    assert unlabelled.warnings() == []


def test_features_by_which_blobs_are_precise_are_warned_of(unlabelled: Evaluation) -> None:
    fooled = replace(unlabelled, blobs=unlabelled.real)
    assert [warning.split(",")[0] for warning in fooled.warnings()] == [
        f"By these features blobs have a precision of {unlabelled.real.neighbourhoods.precision:.2f}",
        f"Nor does density: that of blobs is {unlabelled.real.neighbourhoods.density:.2f}.",
    ]


def test_ten_thousand_held_out_images_are_spread_over_more() -> None:
    many = np.arange(25_000, dtype=np.uint32).view(np.uint8).reshape(25_000, 1, 2, 2)
    chosen = reference_rows(replace(DIGITS, held_out=many))
    assert len(chosen) == 10_000
    assert chosen[0] == 0
    assert chosen[-1] > 24_990
    assert (np.diff(chosen) >= 2).all()
