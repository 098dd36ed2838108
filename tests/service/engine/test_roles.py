"""A package whose graphs do not fit each other, or this service, is refused before anything runs."""

from dataclasses import replace

import pytest

from service.engine.graphs import GraphSpec, PackageGraphs, TensorSpec
from service.engine.roles import discriminator_tensors, generator_tensors
from service.errors import GraphRefused
from tests.toy import toy_graphs

PLAIN = toy_graphs()
CONDITIONAL = toy_graphs(conditional=True)
LATENT, SAMPLE, PIXELS = *PLAIN.generator.inputs, *PLAIN.generator.outputs
LABEL = TensorSpec("label", "INT64", (-1,), "label")
CODE = TensorSpec("code", "FP32", (-1, 2), "code")
LOGIT = TensorSpec("logit", "FP32", (-1,), "logit")


def judge_of(package: PackageGraphs) -> GraphSpec:
    assert package.discriminator is not None
    return package.discriminator


def with_generator(
    package: PackageGraphs = PLAIN,
    inputs: tuple[TensorSpec, ...] = (LATENT,),
    outputs: tuple[TensorSpec, ...] = (SAMPLE, PIXELS),
) -> PackageGraphs:
    return replace(package, generator=replace(package.generator, inputs=inputs, outputs=outputs))


@pytest.mark.parametrize("package", [PLAIN, CONDITIONAL, toy_graphs(pack=3, channels=3)])
def test_tensors_that_fit_are_found_by_role(package: PackageGraphs) -> None:
    inputs, outputs = generator_tensors(package)
    assert tuple(inputs.values()) == package.generator.inputs
    assert tuple(outputs.values()) == package.generator.outputs
    judge = judge_of(package)
    inputs, outputs = discriminator_tensors(package, judge)
    assert tuple(inputs.values()) == judge.inputs
    assert tuple(outputs.values()) == judge.outputs


@pytest.mark.parametrize(
    ("package", "complaint"),
    [
        (with_generator(inputs=(LATENT, CODE)), "takes latent, code; this service knows label, latent"),
        (with_generator(inputs=(LATENT, replace(LATENT, name="other"))), "takes latent, latent"),
        (with_generator(inputs=()), "generator takes"),
        (with_generator(inputs=(replace(LATENT, shape=(-1, 5)),)), r"latent has shape \[-1, 5\], not \[-1, 16\]"),
        (with_generator(inputs=(replace(LATENT, datatype="INT64"),)), "takes latent as INT64, not FP32"),
        (with_generator(inputs=(LATENT, LABEL)), "takes labels, but the package has none"),
        (with_generator(CONDITIONAL), "package has labels, but its generator takes none"),
        (with_generator(CONDITIONAL, (LATENT, replace(LABEL, shape=(-1, 10)))), r"label has shape \[-1, 10\]"),
        (with_generator(outputs=(PIXELS,)), "makes pixels"),
        (with_generator(outputs=(SAMPLE, replace(PIXELS, shape=(-1, 1, 8, 8)))), r"pixels has shape \[-1, 1, 8, 8\]"),
    ],
)
def test_a_generator_that_does_not_fit_is_refused(package: PackageGraphs, complaint: str) -> None:
    with pytest.raises(GraphRefused, match=complaint):
        generator_tensors(package)


@pytest.mark.parametrize(
    ("package", "inputs", "outputs", "complaint"),
    [
        (PLAIN, (LATENT,), (LOGIT,), "takes latent"),
        (PLAIN, (replace(SAMPLE, shape=(-1, 3, 8, 8)),), (LOGIT,), r"sample has shape \[-1, 3, 8, 8\]"),
        (PLAIN, (SAMPLE, LABEL), (LOGIT,), "takes labels, but the package has none"),
        (CONDITIONAL, (SAMPLE, replace(LABEL, shape=(-1, 1))), (LOGIT,), "label has shape"),
        (PLAIN, (SAMPLE,), (replace(LOGIT, shape=(-1, 1)),), "logit has shape"),
        (PLAIN, (SAMPLE,), (LOGIT, CODE), "makes logit, code"),
    ],
)
def test_a_discriminator_that_does_not_fit_is_refused(
    package: PackageGraphs, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], complaint: str
) -> None:
    with pytest.raises(GraphRefused, match=complaint):
        discriminator_tensors(package, replace(judge_of(package), inputs=inputs, outputs=outputs))


def test_a_packs_samples_stand_side_by_side_in_the_channels() -> None:
    judge = replace(judge_of(PLAIN), pack=2)
    with pytest.raises(GraphRefused, match=r"not \[-1, 2, 8, 8\]"):
        discriminator_tensors(PLAIN, judge)
