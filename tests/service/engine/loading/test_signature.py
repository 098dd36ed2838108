"""A package whose graphs do not fit each other, or this service, is refused before anything runs."""

from dataclasses import replace

import pytest

from service.engine.loading.signature import discriminator_tensors, encoder_tensors, generator_tensors
from service.engine.model_spec import GraphSpec, PackageGraphs, TensorSpec
from service.errors import GraphRefused
from tests.support.toy import toy_graphs

PLAIN = toy_graphs()
CONDITIONAL = toy_graphs(conditional=True)
CODED = toy_graphs(categorical=(2,), encoder=True)
ITEMS = toy_graphs(kind="item", condition_count=5, pack=2)
LATENT, SAMPLE, PIXELS = *PLAIN.generator.inputs, *PLAIN.generator.outputs
LABEL = TensorSpec("label", "INT64", (-1,), "label")
CODE = TensorSpec("code", "FP32", (-1, 2), "code")
LOGIT = TensorSpec("logit", "FP32", (-1,), "logit")
USER = TensorSpec("user", "INT64", (-1,), "condition")
ITEM = TensorSpec("sample", "INT64", (-1,), "sample")


def judge_of(package: PackageGraphs) -> GraphSpec:
    assert package.discriminator is not None
    return package.discriminator


def with_generator(
    package: PackageGraphs = PLAIN,
    inputs: tuple[TensorSpec, ...] = (LATENT,),
    outputs: tuple[TensorSpec, ...] = (SAMPLE, PIXELS),
) -> PackageGraphs:
    return replace(package, generator=replace(package.generator, inputs=inputs, outputs=outputs))


@pytest.mark.parametrize(
    "package",
    [PLAIN, CONDITIONAL, toy_graphs(pack=3, channels=3), CODED, ITEMS, toy_graphs(kind="vector", pack=2)],
)
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
        (with_generator(inputs=(LATENT, LOGIT)), "takes latent, logit; this service knows code, condition, label, lat"),
        (with_generator(inputs=(LATENT, CODE)), "has codes among its tensors, but the package has none"),
        (with_generator(CODED), "package has codes, but its generator takes none"),
        (with_generator(CODED, (LATENT, replace(CODE, shape=(-1, 3)))), r"code has shape \[-1, 3\], not \[-1, 2\]"),
        (with_generator(inputs=(LATENT, USER)), "has conditions among its tensors, but the package has none"),
        (with_generator(ITEMS, ITEMS.generator.inputs[:1], (ITEM,)), "has conditions, but its generator takes none"),
        (with_generator(ITEMS, ITEMS.generator.inputs, (replace(ITEM, datatype="FP32"),)), "as FP32, not INT64"),
        (with_generator(ITEMS, ITEMS.generator.inputs, (replace(ITEM, shape=(-1, 1)),)), r"not \[-1\]"),
        (with_generator(outputs=(replace(SAMPLE, datatype="INT64"), PIXELS)), "makes sample as INT64, not FP32"),
        (with_generator(inputs=(LATENT, replace(LATENT, name="other"))), "takes latent, latent"),
        (with_generator(inputs=()), "generator takes"),
        (with_generator(inputs=(replace(LATENT, shape=(-1, 5)),)), r"latent has shape \[-1, 5\], not \[-1, 16\]"),
        (with_generator(inputs=(replace(LATENT, datatype="INT64"),)), "takes latent as INT64, not FP32"),
        (with_generator(inputs=(LATENT, LABEL)), "has labels among its tensors, but the package has none"),
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
        (PLAIN, (SAMPLE, LATENT), (LOGIT,), "takes sample, latent; this service knows condition, label, sample"),
        (PLAIN, (SAMPLE, LABEL), (LOGIT,), "has labels among its tensors, but the package has none"),
        (ITEMS, (replace(ITEM, shape=(-1, 3)), USER), (LOGIT,), r"sample has shape \[-1, 3\], not \[-1, 2\]"),
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


def encoder_of(package: PackageGraphs) -> GraphSpec:
    assert package.encoder is not None
    return package.encoder


@pytest.mark.parametrize("package", [CODED, toy_graphs(encoder=True), toy_graphs(kind="vector", encoder=True)])
def test_an_encoder_gives_the_latent_or_the_codes(package: PackageGraphs) -> None:
    spec = encoder_of(package)
    inputs, outputs = encoder_tensors(package, spec)
    assert tuple(inputs.values()) == spec.inputs
    assert tuple(outputs.values()) == spec.outputs


@pytest.mark.parametrize(
    ("package", "inputs", "outputs", "complaint"),
    [
        (CODED, (LATENT,), (CODE,), "encoder takes latent; this service knows condition, label, sample"),
        (CODED, (SAMPLE,), (LABEL,), "encoder makes label; this service knows code, latent"),
        (CODED, (SAMPLE,), (replace(CODE, shape=(-1, 3)),), r"code has shape \[-1, 3\]"),
        (CODED, (SAMPLE,), (replace(LATENT, shape=(-1, 3)),), r"latent has shape \[-1, 3\], not \[-1, 16\]"),
        (CODED, (replace(SAMPLE, shape=(-1, 3, 8, 8)),), (CODE,), r"sample has shape \[-1, 3, 8, 8\]"),
        (PLAIN, (SAMPLE,), (CODE,), "encoder has codes among its tensors, but the package has none"),
        (PLAIN, (SAMPLE, USER), (LATENT,), "encoder has conditions among its tensors, but the package has none"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    package: PackageGraphs, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], complaint: str
) -> None:
    with pytest.raises(GraphRefused, match=complaint):
        encoder_tensors(package, replace(encoder_of(CODED), inputs=inputs, outputs=outputs))
