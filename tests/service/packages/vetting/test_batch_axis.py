"""Whether a graph mixes the samples of a batch, read from its nodes: what the literature does is found, no more."""

import pytest

from service.packages.vetting.batch_axis import Step, first_mixing_step


def step(op: str, inputs: str, output: str, *axes: int) -> Step:
    return Step(op, tuple(inputs.split()), (output,), axes)


CONV = step("Conv", "sample kernel", "features")
MINIBATCH_DEVIATION = [  # Karras 2018: groups, variance within each, appended as a map
    CONV,
    step("Reshape", "features shape", "groups"),
    step("ReduceMean", "groups", "mean", 0),
    step("Sub", "groups mean", "away"),
    step("Mul", "away away", "squared"),
    step("ReduceMean", "squared", "variance", 0),
    step("Concat", "features variance", "logit"),
]
MINIBATCH_DISCRIMINATION = [  # Salimans 2016: distances of each to all, summed
    step("MatMul", "sample kernel", "features"),
    step("Unsqueeze", "features axes", "row"),
    step("Transpose", "row", "column"),
    step("Sub", "row column", "away"),
    step("Abs", "away", "distance"),
    step("ReduceSum", "distance axes", "distances", 3),
    step("Exp", "distances", "near"),
    step("ReduceSum", "near axes", "mates", 0),
    step("Concat", "features mates", "logit"),
]
HARMLESS = [
    CONV,
    step("Shape", "sample", "size"),
    step("ReduceProd", "size", "volume", 0),
    step("ReduceMean", "kernel", "weight", 0),
    step("ReduceMean", "features", "pooled", 2, 3),
    step("Softmax", "pooled", "attention", 1),
    step("Mul", "attention weight", "logit"),
]


@pytest.mark.parametrize(
    ("steps", "found"), [(MINIBATCH_DEVIATION, 2), (MINIBATCH_DISCRIMINATION, 7), (HARMLESS, None)]
)
def test_what_mixes_samples_is_found_and_nothing_else(steps: list[Step], found: int | None) -> None:
    assert first_mixing_step(steps, ["sample"]) == found


def test_a_reduction_that_names_no_axis_is_over_all_of_them() -> None:
    assert first_mixing_step([Step("ReduceMean", ("sample",), ("logit",), None)], ["sample"]) == 0


def test_every_input_has_the_samples_in_it() -> None:
    steps = [step("Gather", "table label", "embedding"), step("ReduceMax", "embedding", "logit", 0)]
    assert first_mixing_step(steps, ["sample", "label"]) == 1
    assert first_mixing_step(steps, ["sample"]) is None
