"""A session runs what was stated, or is refused; and what it fails at is an error of ours."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.engine.backends.onnxruntime import Session
from service.engine.config import CUDA, Device
from service.engine.model_spec import Feeds, GraphSpec, TensorSpec
from service.errors import GraphRefused, SessionFailed
from service.memory import trim_heap
from tests.support.cuda import fake_cuda, needs_cuda, without_cuda
from tests.support.graph_makers import GOLDEN_LATENT, INPUTS, OUTPUTS, Maker, identity
from tests.support.toy import toy_graphs


def session(spec: GraphSpec, device: Device = "cpu", threads: int = 1) -> Session:
    return Session("generator", spec, device, threads)


def test_a_batch_is_computed_as_it_stands() -> None:
    feeds: Feeds = {"latent": GOLDEN_LATENT[:4]}
    assert session(identity()).compute(feeds, ["sample"])["sample"].tolist() == GOLDEN_LATENT[:4].tolist()


def test_only_the_outputs_asked_for_come_back() -> None:
    spec = toy_graphs().generator
    assert list(session(spec).compute({"latent": spec.golden["latent"]}, ["pixels"])) == ["pixels"]


def test_what_a_run_answered_is_not_written_to_by_the_next() -> None:
    twice = session(identity())
    first = twice.compute({"latent": GOLDEN_LATENT[:1]}, ["sample"])["sample"]
    twice.compute({"latent": GOLDEN_LATENT[1:2]}, ["sample"])
    assert first.tolist() == GOLDEN_LATENT[:1].tolist()


def test_several_threads_may_be_in_one_session() -> None:
    spec = toy_graphs().generator
    shared, latent = session(spec), spec.golden["latent"]
    alone = shared.compute({"latent": latent}, ["sample"])["sample"].tobytes()
    with ThreadPoolExecutor(4) as threads:
        together = threads.map(lambda _: shared.compute({"latent": latent}, ["sample"])["sample"].tobytes(), range(64))
    assert set(together) == {alone}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not given back")
def test_a_session_that_shrank_holds_little_and_answers_what_it_did() -> None:
    spec = toy_graphs(height=64, width=64).generator
    shrunk = session(spec)
    feeds: Feeds = {"latent": np.resize(spec.golden["latent"], (2048, 16))}
    answered = shrunk.compute(feeds, ["sample"])["sample"].tobytes()
    trim_heap()
    before = resident_bytes()
    shrunk.shrink({"latent": spec.golden["latent"][:1]})
    trim_heap()
    assert resident_bytes() < before - 16 * 2**20
    assert shrunk.compute(feeds, ["sample"])["sample"].tobytes() == answered


def test_what_a_session_cannot_run_it_cannot_shrink_by() -> None:
    with pytest.raises(SessionFailed):
        session(identity()).shrink({"no such input": GOLDEN_LATENT})


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(GraphRefused, match="generator: ONNX Runtime cannot load"):
        session(replace(identity(), model=b"no graph"))


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        (TensorSpec("z", "FP32", (-1, 3), "latent"), r"inputs are \['latent'\]; stated are \['z'\]"),
        (TensorSpec("latent", "FP16", (-1, 3), "latent"), r"latent is FP32; stated is FP16"),
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
        session(spec).compute({"latent": np.full((1, 3), 99, np.float32)}, ["sample"])
    assert str(failure.value) == "the generator's session failed"


def test_an_output_of_the_wrong_shape_is_a_failed_session() -> None:
    maker = Maker()
    maker.node("Concat", "latent", "latent", output="sample", axis=0)
    spec = GraphSpec(maker.model(INPUTS, OUTPUTS), INPUTS, OUTPUTS, {})
    with pytest.raises(SessionFailed, match=r"output sample has shape \(4, 3\) for a batch of 2"):
        session(spec).compute({"latent": GOLDEN_LATENT[:2]}, ["sample"])


def test_the_cpu_is_used_where_it_is_asked_for() -> None:
    assert session(identity()).provider == "CPUExecutionProvider"


@without_cuda
def test_cuda_is_refused_rather_than_replaced_where_it_is_asked_for_and_does_not_work() -> None:
    with pytest.raises(GraphRefused, match="CUDA is not usable"):
        session(identity(), device="cuda")


@without_cuda
def test_auto_takes_the_cpu_where_cuda_does_not_work() -> None:
    assert session(identity(), device="auto").provider == "CPUExecutionProvider"


@needs_cuda
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_is_used_where_it_works(device: Device) -> None:
    assert session(identity(), device).provider == CUDA


def test_a_run_that_fails_on_cuda_does_not_go_on_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own fallback would make the session anew on the CPU, and the label would stay CUDA."""
    fake_cuda(monkeypatch, fails_after=2, failure="no_plan")
    on_cuda = session(identity(), device="cuda")
    feeds: Feeds = {"latent": GOLDEN_LATENT[:2]}
    assert on_cuda.compute(feeds, ["sample"])["sample"].tolist() == GOLDEN_LATENT[:2].tolist()
    with pytest.raises(SessionFailed):
        on_cuda.compute(feeds, ["sample"])
    assert on_cuda.provider == CUDA


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_session_on_cuda_is_told_whatever_changes_its_bytes_or_its_memory(
    monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    card = fake_cuda(monkeypatch)
    assert session(identity(), device).provider == CUDA
    for providers, options, enable_fallback in card.opened:  # the smoke run's and the graph's
        assert providers[0] == CUDA
        assert not enable_fallback
        assert options == {
            "use_tf32": "0",
            "cudnn_conv_algo_search": "HEURISTIC",
            "fuse_conv_bias": "0",
            "prefer_nhwc": "0",
            "arena_extend_strategy": "kSameAsRequested",
        }


def test_what_cannot_be_opened_on_cuda_is_refused_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    card = fake_cuda(monkeypatch)
    session(identity(), device="cuda")
    card.refuses = RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=secret")
    with pytest.raises(
        GraphRefused, match=r"^generator: ONNX Runtime cannot load the graph on CUDA: CUDA failure 2: .*y$"
    ):
        session(identity(), device="cuda")


def test_what_cannot_be_opened_on_cuda_is_opened_on_the_cpu_where_any_device_may_compute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card = fake_cuda(monkeypatch)
    session(identity(), device="auto")
    card.refuses = RuntimeError("CUDA failure 2: out of memory")
    assert session(identity(), device="auto").provider == "CPUExecutionProvider"
    assert "out of memory; using the CPU" in caplog.text


def test_a_session_that_silently_took_the_cpu_is_not_taken_for_one_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    card = fake_cuda(monkeypatch)
    session(identity(), device="cuda")
    card.opens = False
    with pytest.raises(GraphRefused, match="its session is on CPUExecutionProvider"):
        session(identity(), device="cuda")
