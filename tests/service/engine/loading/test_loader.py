"""A package is loaded by the backend that was asked for, or refused in words that say what to do."""

import sys

import pytest

from service.engine.config import Runtime
from service.engine.loading.loader import load_package
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import GraphRefused
from tests.support.toy import toy_graphs

FEW = BatchLimits(max_batch_samples=2)


def test_onnx_runtime_computes_unless_another_backend_is_asked_for() -> None:
    package = load_package(toy_graphs(), Runtime(device="cpu", threads=1), FEW)
    assert package.discriminator is not None
    for graph in (package.generator, package.discriminator):
        assert (graph.report.provider, graph.report.precision) == ("CPUExecutionProvider", "fp32")
        assert graph.report.runtime.startswith("onnxruntime ")


def test_openvino_computes_where_it_is_asked_for() -> None:
    pytest.importorskip("service.engine.backends.openvino")
    package = load_package(toy_graphs(), Runtime(backend="openvino", threads=1), FEW)
    assert package.discriminator is not None
    assert {graph.report.provider for graph in (package.generator, package.discriminator)} == {"OpenVINO"}


def test_without_openvino_a_package_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.engine.backends.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(GraphRefused, match=r"not installed: pip install 'ganymede-gan\[openvino\]'"):
        load_package(toy_graphs(), Runtime(backend="openvino", threads=1), FEW)
