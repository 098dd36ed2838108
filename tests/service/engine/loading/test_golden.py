"""Which of a package's tolerances holds for what really runs a graph."""

from dataclasses import replace

import pytest

from service.engine.backends.onnxruntime import Session
from service.engine.config import Precision
from service.engine.loading.golden import limit_of, tolerance_of
from service.engine.model_spec import Tolerance
from service.engine.pixels import LARGEST_STEPS
from service.errors import GoldenMismatch
from tests.support.graph_makers import TOLERANCE, identity
from tests.support.toy import toy_graphs

IN_OPENVINO = replace(TOLERANCE, provider="OpenVINO", sample=0.5)
IN_BF16 = replace(IN_OPENVINO, precision="bf16", pixels=9)


class Elsewhere(Session):
    """A real session that is taken for one of another provider and precision."""

    def __init__(self, provider: str, precision: Precision) -> None:
        super().__init__("generator", identity(), device="cpu", threads=1)
        self.provider, self.precision = provider, precision


def test_what_is_stated_for_a_provider_and_precision_holds() -> None:
    stated = [TOLERANCE, IN_OPENVINO, IN_BF16]
    assert tolerance_of(Elsewhere("CPUExecutionProvider", "fp32"), stated) == TOLERANCE
    assert tolerance_of(Elsewhere("OpenVINO", "fp32"), stated) == IN_OPENVINO
    assert tolerance_of(Elsewhere("OpenVINO", "bf16"), stated) == IN_BF16


def test_openvino_is_held_to_what_is_stated_for_the_same_arithmetic_on_the_same_processor() -> None:
    assert tolerance_of(Elsewhere("OpenVINO", "fp32"), [TOLERANCE]) == TOLERANCE


def test_cuda_is_not() -> None:
    with pytest.raises(GoldenMismatch, match="no tolerance for CUDAExecutionProvider at fp32"):
        tolerance_of(Elsewhere("CUDAExecutionProvider", "fp32"), [TOLERANCE, IN_OPENVINO])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_without_a_stated_tolerance_is_bounded_by_its_pixels(precision: Precision) -> None:
    tolerance = tolerance_of(Elsewhere("OpenVINO", precision), [TOLERANCE, IN_OPENVINO])
    assert limit_of(toy_graphs().generator, "pixels", tolerance) == LARGEST_STEPS


def test_each_output_has_the_limit_of_its_role_and_items_none() -> None:
    images, items = toy_graphs().generator, toy_graphs(kind="item", condition_count=5).generator
    tolerance = Tolerance("any", "fp32", sample=0.25, pixels=3, logit=0.5)
    assert (limit_of(images, "sample", tolerance), limit_of(images, "pixels", tolerance)) == (0.25, 3)
    assert limit_of(items, "sample", tolerance) == 0.0
