"""The charts of a run: its measurements with the values of theory for comparison.

Each chart is drawn only if the run measured what it shows.
"""

import math
from collections.abc import Iterator
from typing import Final

from training.diagnostics.alarm import LEAST_DIVERSITY, LEAST_MODES, readings_of
from training.diagnostics.charts import Chart, Mark, Reference, Series
from training.diagnostics.findings import RunRecord
from training.diagnostics.measures.divergence import equilibrium, target_of
from training.diagnostics.measures.spread import NEAR_QUANTILE
from training.diagnostics.symptoms import RESTLESS

Points = list[tuple[float, float]]

LOG_2: Final = Reference("log 2: disjoint", math.log(2))
NOTHING: Final = Reference("0: no difference", 0.0)
DISJOINT: Final = Reference("1: disjoint", 1.0)
# Name of the reading, what it bounds, and the values that it lies between.
BOUNDS: Final[dict[str, tuple[str, tuple[Reference, ...]]]] = {
    "jsd_bound": (
        "a lower bound of the Jensen-Shannon divergence, half the distance of V from its value at rest, nats",
        (NOTHING, LOG_2),
    ),
    "paired_jsd_bound": (
        "a lower bound of the Jensen-Shannon divergence of (real, generated) and (generated, real) pairs, nats",
        (NOTHING, LOG_2),
    ),
    "tv_bound": ("a lower bound of the total variation", (NOTHING, DISJOINT)),
    "le_cam_bound": ("a lower bound of the Le Cam divergence", (NOTHING, DISJOINT)),
    "f_bound": ("a lower bound of the objective's f-divergence", (NOTHING,)),
    "wasserstein_estimate": ("the critic's estimate of the Wasserstein distance, up to its slope", (NOTHING,)),
}


def charts_of(record: RunRecord) -> list[Chart]:
    """Make the charts for which a run has measurements.

    Returns:
        Charts in the order of the page.
    """
    return [
        chart
        for source in (
            _divergence,
            _answers,
            _accuracy,
            _gradients,
            _quality,
            _nearness,
            _variety,
            _modes,
            _support,
            _unrest,
            _losses,
        )
        for chart in source(record)
    ]


def marks_of(record: RunRecord) -> list[Mark]:
    """Make the marks of a run's events, and of its best samples."""
    marks = [
        Mark(event.samples, f"{event.event} at {event.samples:,}: {event.text}")
        for event in record.events
        if event.samples
    ]
    if (best := record.best) is not None:
        marks.append(Mark(best.samples, f"best samples at {best.samples:,}: {best}"))
    return marks


def _points(record: RunRecord, name: str) -> Points:
    """A reading over training time."""
    measured = ((row["samples"], readings_of(row)) for row in record.rows)
    return [(samples, readings[name]) for samples, readings in measured if name in readings]


def _logged(record: RunRecord, name: str) -> Points:
    """A mean of the log over training time."""
    return [(row["samples"], row[name]) for row in record.rows if name in row]


def _series(record: RunRecord, **names: str) -> list[Series]:
    """The available readings as curves with the given names."""
    found = ((name, _points(record, reading)) for reading, name in names.items())
    return [Series(name, points) for name, points in found if points]


def _divergence(record: RunRecord) -> Iterator[Chart]:
    for reading, (what, references) in BOUNDS.items():
        series = _series(record, **{reading: "bound"})
        if series:
            caption = f"{what[0].upper()}{what[1:]}, on real samples that the critic was not trained on."
            yield Chart("divergence", "Divergence of data and generator", caption, series, references)


def _answers(record: RunRecord) -> Iterator[Chart]:
    series = _series(record, d_real="D on real samples", d_generated="D on generated ones", d_distance="|D - rest|")
    if series:
        rest, _ = equilibrium(target_of(record.config.objective))
        caption = (
            "The critic's mean probability; at the equilibrium all are equal to the reference, and the distance "
            "from it is 0."
        )
        yield Chart("answers", "Probabilities of the critic", caption, series, (Reference(f"{rest:g}: at rest", rest),))


def _accuracy(record: RunRecord) -> Iterator[Chart]:
    series = _series(record, paired_accuracy="pairs told apart", sure_share="sure answers")
    if series:
        caption = (
            "Share of pairs in which the real sample has the higher logit, and of probabilities above 0.99 or "
            "below 0.01."
        )
        yield Chart("accuracy", "How sure the critic is", caption, series, (Reference("1/2: a coin", 0.5),))


def _gradients(record: RunRecord) -> Iterator[Chart]:
    series = _series(
        record, gradient_minimax="log(1 - D), minimax", gradient_non_saturating="-log D, non-saturating"
    ) or _series(record, gradient="the run's loss")
    positive = [Series(curve.name, [point for point in curve.points if point[1] > 0]) for curve in series]
    if positive and all(curve.points for curve in positive):
        caption = "Norm of the generator's gradient, always on the same latents."
        if len(positive) > 1:
            caption += " Where the two losses differ by orders of magnitude, the minimax game has saturated."
        yield Chart("gradients", "Gradient of the generator", caption, positive, logarithmic=True)


def _quality(record: RunRecord) -> Iterator[Chart]:
    measured = record.measured
    if measured:
        name = measured[0].measure.replace("_", " ")
        points: Points = [(each.samples, each.value) for each in measured]
        caption = f"The {name} of the averaged generator's samples, lower is better. The line marks the lowest."
        yield Chart("quality", "Quality of samples", caption, [Series(name, points)])


def _nearness(record: RunRecord) -> Iterator[Chart]:
    series = _series(record, near_real="near probed real samples")
    if series:
        references = (Reference("real samples", NEAR_QUANTILE), Reference("0: noise", 0.0))
        caption = (
            "Share of generated samples that are as near to a real one as 99 of 100 real ones are to another, among "
            "those that are probed. The diagnosis, and *near the training data* of a comparison, compare with all of "
            "the training data, and may find fewer."
        )
        yield Chart("nearness", "Samples near probed real ones", caption, series, references)


def _variety(record: RunRecord) -> Iterator[Chart]:
    series = _series(record, diversity="generated samples")
    if series:
        references = (Reference("1: the data's", 1.0), Reference("alarm", LEAST_DIVERSITY))
        caption = "Mean distance of two generated samples, in units of that of two real ones."
        yield Chart("variety", "Diversity of generated samples", caption, series, references)


def _modes(record: RunRecord) -> Iterator[Chart]:
    drawn = _points(record, "modes")
    if drawn:
        real = _points(record, "modes_of_real")[-1][1]
        references = (Reference("as many real samples", real), Reference("alarm", LEAST_MODES * real))
        caption = "Modes that at least one of the probed samples is in."
        yield Chart("modes", "Modes drawn", caption, [Series("modes", drawn)], references)
        balance = _series(record, mode_reverse_kl="KL(drawn || data)", in_a_mode="share of samples in a mode")
        caption = "How evenly modes are drawn, in nats, and how many samples are in any."
        yield Chart("balance", "Balance of the modes", caption, balance, (NOTHING,))


def _support(record: RunRecord) -> Iterator[Chart]:
    floor = _points(record, "support_low")
    if floor:
        drawn = _points(record, "probe_samples")[-1][1]
        estimate, high = _points(record, "support"), dict(_points(record, "support_high"))
        band = [(samples, low, high[samples]) for samples, low in floor if samples in high]
        series = [Series("at least", floor)] + ([Series("estimate", estimate, band)] if estimate else [])
        caption = (
            "Different samples that the generator can draw, by coincidences within a probe (birthday estimate) beyond "
            "those of real samples; no estimate where there are none, only a floor."
        )
        references = (Reference("alarm: the probe's size", drawn),)
        yield Chart("support", "Size of the support", caption, series, references, logarithmic=True)


def _unrest(record: RunRecord) -> Iterator[Chart]:
    series = _series(record, unrest="unrest")
    if series:
        caption = "Distance of a latent's sample from the averaged generator's, in units of that of two real samples."
        references = (Reference("0: at rest", 0.0), Reference("circling", RESTLESS))
        yield Chart("unrest", "Distance of the generator from its average", caption, series, references)


def _losses(record: RunRecord) -> Iterator[Chart]:
    named = (("critic", "critic/total"), ("generator", "generator/total"))
    series = [Series(name, points) for name, key in named if (points := _logged(record, key))]
    if series:
        yield Chart("losses", "Losses", "Means over each interval of the log; low is not good, level is.", series)
