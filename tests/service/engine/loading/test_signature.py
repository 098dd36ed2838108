"""The engine finds a graph's tensors by what they mean."""

import pytest

from service.engine.loading.signature import tensors_by_role
from service.engine.model_spec import PackageGraphs
from tests.support.toy import toy_graphs


@pytest.mark.parametrize(
    "package",
    [
        toy_graphs(),
        toy_graphs(conditional=True),
        toy_graphs(pack=3, channels=3),
        toy_graphs(categorical=(2,), encoder=True),
        toy_graphs(kind="item", condition_count=5, pack=2),
        toy_graphs(kind="vector", pack=2, encoder=True),
    ],
)
def test_tensors_are_found_by_role(package: PackageGraphs) -> None:
    for graph in (package.generator, package.discriminator, package.encoder):
        if graph is not None:
            inputs, outputs = tensors_by_role(graph)
            assert tuple(inputs.values()) == graph.inputs
            assert tuple(outputs.values()) == graph.outputs
            assert all(role == tensor.role for side in (inputs, outputs) for role, tensor in side.items())
