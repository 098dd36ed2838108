"""A session runs what was stated, or is refused; and what it fails at is an error of ours."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from service.engine.graphs import GraphSpec, TensorSpec
from service.engine.session import CUDA, Runtime, Session
from service.errors import GraphRefused, SessionFailed
from tests.service.engine.graph_makers import GOLDEN_LATENT, INPUTS, OUTPUTS, Maker, identity
from tests.toy import toy_graphs

ON_CPU = Runtime(device="cpu", threads=1)
HAS_CUDA = CUDA in ort.get_available_providers() and any(device.ep_name == CUDA for device in ort.get_ep_devices())


def session(spec: GraphSpec) -> Session:
    return Session("generator", spec, ON_CPU)


def test_rows_of_several_requests_are_stacked_in_order_and_padded_with_zeros() -> None:
    rows = [{"latent": GOLDEN_LATENT[:2]}, {"latent": GOLDEN_LATENT[4:5]}]
    sample = session(identity()).run(rows, 4, ["sample"])["sample"]
    assert sample.tolist() == [*GOLDEN_LATENT[[0, 1, 4]].tolist(), [0, 0, 0]]


def test_only_the_outputs_asked_for_come_back() -> None:
    spec = toy_graphs().generator
    rows = [{"latent": spec.golden["latent"]}]
    assert list(session(spec).run(rows, 4, ["pixels"])) == ["pixels"]


def test_inputs_are_cast_to_the_graphs_type() -> None:
    maker = Maker()
    maker.node("Cast", "latent", output="sample", to=1)
    inputs = (replace(INPUTS[0], datatype="FP16"),)
    spec = GraphSpec(maker.model(inputs, OUTPUTS), inputs, OUTPUTS, {})
    sample = session(spec).run([{"latent": GOLDEN_LATENT}], 8, ["sample"])["sample"]
    assert sample[:5].tolist() == GOLDEN_LATENT.astype(np.float16).tolist()


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(GraphRefused, match="generator: ONNX Runtime cannot load"):
        session(replace(identity(), model=b"no graph"))


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        (TensorSpec("z", "FP32", (-1, 3), "latent"), r"inputs are \['latent'\]; stated are \['z'\]"),
        (TensorSpec("latent", "FP16", (-1, 3), "latent"), r"latent is a tensor\(float\); stated is FP16"),
        (TensorSpec("latent", "FP32", (-1, 4), "latent"), r"latent has shape \['batch', 3\]; stated is \[-1, 4\]"),
        (
            TensorSpec("latent", "FP32", (-1, 3, 1), "latent"),
            r"latent has shape \['batch', 3\]; stated is \[-1, 3, 1\]",
        ),
    ],
)
def test_an_input_that_is_not_the_stated_one_is_named(stated: TensorSpec, complaint: str) -> None:
    with pytest.raises(GraphRefused, match=complaint):
        session(replace(identity(), inputs=(stated,)))


def test_an_output_that_is_not_the_stated_one_is_named() -> None:
    stated = (TensorSpec("sample", "FP32", (-1, 9), "sample"),)
    with pytest.raises(GraphRefused, match="generator outputs: sample has shape"):
        session(replace(identity(), outputs=stated))


def test_a_graph_with_an_input_too_many_is_refused() -> None:
    spec = toy_graphs(conditional=True).generator
    with pytest.raises(GraphRefused, match="inputs are"):
        session(replace(spec, inputs=spec.inputs[:1]))


def test_a_fixed_batch_is_refused() -> None:
    maker = Maker()
    maker.node("Identity", "latent", output="sample")
    fixed = tuple(replace(tensor, shape=(4, 3)) for tensor in (*INPUTS, *OUTPUTS))
    with pytest.raises(GraphRefused, match="fixed batch of 4"):
        session(replace(identity(), model=maker.model(fixed[:1], fixed[1:])))


def test_a_run_that_raises_is_a_failed_session_without_the_librarys_words() -> None:
    maker = Maker()
    index = maker.node("Cast", "latent", to=7)
    maker.node("Gather", maker.constant(np.zeros(4, np.float32)), index, output="sample")
    spec = GraphSpec(maker.model(INPUTS, OUTPUTS), INPUTS, OUTPUTS, {})
    with pytest.raises(SessionFailed) as failure:
        session(spec).run([{"latent": np.full((1, 3), 99, np.float32)}], 1, ["sample"])
    assert str(failure.value) == "the generator's session failed"


def test_an_output_of_the_wrong_shape_is_a_failed_session() -> None:
    maker = Maker()
    maker.node("Concat", "latent", "latent", output="sample", axis=0)
    spec = GraphSpec(maker.model(INPUTS, OUTPUTS), INPUTS, OUTPUTS, {})
    with pytest.raises(SessionFailed, match=r"output sample has shape \(4, 3\) for a batch of 2"):
        session(spec).run([{"latent": GOLDEN_LATENT[:2]}], 2, ["sample"])


def test_the_cpu_is_used_where_it_is_asked_for() -> None:
    assert session(identity()).provider == "CPUExecutionProvider"


@pytest.mark.skipif(HAS_CUDA, reason="CUDA works here")
def test_cuda_is_refused_rather_than_replaced_where_it_is_asked_for_and_does_not_work() -> None:
    with pytest.raises(GraphRefused, match="CUDA is not usable"):
        Session("generator", identity(), Runtime(device="cuda", threads=1))


@pytest.mark.skipif(HAS_CUDA, reason="CUDA works here")
def test_auto_takes_the_cpu_where_cuda_does_not_work() -> None:
    assert Session("generator", identity(), Runtime(device="auto", threads=1)).provider == "CPUExecutionProvider"


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_is_used_where_it_works(device: str) -> None:
    runtime = Runtime(device="cuda" if device == "cuda" else "auto", threads=1)
    assert Session("generator", identity(), runtime).provider == CUDA
