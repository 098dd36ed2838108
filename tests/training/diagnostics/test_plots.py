"""Plots: what was measured is drawn beside the value that theory gives it, and what was not is left out."""

import dataclasses
import math

from tests.training.diagnostics.records import record
from training.diagnostics.plots import charts_of, marks_of
from training.state.history import Event


def test_every_measurement_of_a_run_has_its_chart() -> None:
    names = [chart.name for chart in charts_of(record())]
    assert names == [
        "divergence",
        "accuracy",
        "gradients",
        "variety",
        "modes",
        "balance",
        "support",
        "unrest",
        "losses",
    ]


def test_under_smoothing_answers_rest_at_half_of_the_target() -> None:
    smoothed = record(
        objective={"kind": "non_saturating", "real_target": 0.9},
        d_real=0.6,
        d_generated=0.3,
        d_distance=0.15,
        jsd_bound=0.1,
    )
    charts = {chart.name: chart for chart in charts_of(smoothed)}
    assert [reference.value for reference in charts["answers"].references] == [0.45]
    assert [reference.value for reference in charts["divergence"].references] == [0, math.log(2)]


def test_both_gradients_are_drawn_on_one_logarithmic_axis() -> None:
    both = record(gradient_minimax=1e-4, gradient_non_saturating=5.0)
    (chart,) = [chart for chart in charts_of(both) if chart.name == "gradients"]
    assert chart.logarithmic
    assert [len(series.points) for series in chart.series] == [10, 10]


def test_a_gradient_that_has_vanished_altogether_does_not_break_the_logarithm() -> None:
    for chart in charts_of(record(gradient=0.0)):
        assert chart.name != "gradients"


def test_a_run_without_rows_has_no_charts() -> None:
    assert charts_of(dataclasses.replace(record(), rows=[])) == []


def test_what_happened_is_marked() -> None:
    (mark,) = marks_of(record(events=[Event(640, "collapse", "one point")]))
    assert (mark.samples, mark.name) == (640, "collapse at 640: one point")
