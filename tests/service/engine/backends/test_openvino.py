"""OpenVINO runs what was stated, or the graph is refused; and what it fails at is an error of ours."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from service.engine.config import Precision
from service.engine.model_spec import Feeds, GraphSpec, TensorSpec
from service.errors import GraphRefused, SessionFailed
from tests.support.graph_makers import GOLDEN_LATENT, INPUTS, OUTPUTS, Maker, identity
from tests.support.serving import ROOT
from tests.support.toy import toy_graphs
from tests.support.toy_shape import ToyOptions

pytest.importorskip("service.engine.backends.openvino")

from service.engine.backends.openvino import OpenVINOGraph, OpenVINOSession


def compiled(
    spec: GraphSpec, batch: int | None = None, threads: int = 1, precision: Precision = "fp32"
) -> OpenVINOSession:
    return OpenVINOGraph("generator", spec, precision).compile(batch, threads)


def golden_feeds(spec: GraphSpec, batch: int) -> Feeds:
    return {tensor.name: np.ascontiguousarray(spec.golden[tensor.name][:batch]) for tensor in spec.inputs}


@pytest.mark.parametrize("batch", [2, None])
@pytest.mark.parametrize(
    "options",
    [ToyOptions(), ToyOptions(conditional=True), ToyOptions(categorical=(3,), continuous=((0.0, 1.0),))],
    ids=["plain", "classes", "codes"],
)
def test_a_graph_gives_its_golden_outputs_whether_its_batch_is_fixed_or_open(
    options: ToyOptions, batch: int | None
) -> None:
    spec = toy_graphs(**options).generator
    answered = compiled(spec, batch).compute(golden_feeds(spec, 2), ["pixels", "sample"])
    assert answered["pixels"].tolist() == spec.golden["pixels"][:2].tolist()
    assert answered["sample"] == pytest.approx(spec.golden["sample"][:2], abs=1e-5)


def test_items_and_their_conditions_keep_their_type() -> None:
    spec = toy_graphs(kind="item", condition_count=5).generator
    items = compiled(spec, batch=3).compute(golden_feeds(spec, 3), ["sample"])["sample"]
    assert items.dtype == np.int64
    assert items.tolist() == spec.golden["sample"][:3].tolist()


def test_what_a_run_answered_is_not_written_to_by_the_next() -> None:
    twice = compiled(identity(), batch=1)
    first = twice.compute({"latent": GOLDEN_LATENT[:1]}, ["sample"])["sample"]
    twice.compute({"latent": GOLDEN_LATENT[1:2]}, ["sample"])
    assert first.tolist() == GOLDEN_LATENT[:1].tolist()


def test_only_the_outputs_asked_for_come_back() -> None:
    spec = toy_graphs().generator
    assert list(compiled(spec, batch=2).compute(golden_feeds(spec, 2), ["pixels"])) == ["pixels"]


def test_an_open_batch_may_change_from_run_to_run() -> None:
    coupled = compiled(identity())
    for batch in (3, 1, 5):
        sample = coupled.compute({"latent": GOLDEN_LATENT[:batch]}, ["sample"])["sample"]
        assert sample.tolist() == GOLDEN_LATENT[:batch].tolist()


def test_it_says_what_computes() -> None:
    session = compiled(identity(), batch=1)
    assert (session.provider, session.precision) == ("OpenVINO", "fp32")
    assert session.runtime.startswith("openvino 20")


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(GraphRefused, match="generator: OpenVINO cannot read"):
        compiled(replace(identity(), model=b"no graph"))


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        (TensorSpec("z", "FP32", (-1, 3), "latent"), r"inputs are \['latent'\]; stated are \['z'\]"),
        (TensorSpec("latent", "FP16", (-1, 3), "latent"), r"latent is FP32; stated is FP16"),
        (TensorSpec("latent", "FP32", (-1, 4), "latent"), r"latent has shape \['\?', 3\]; stated is \[-1, 4\]"),
    ],
)
def test_an_input_that_is_not_the_stated_one_is_named(stated: TensorSpec, complaint: str) -> None:
    with pytest.raises(GraphRefused, match=complaint):
        compiled(replace(identity(), inputs=(stated,)))


def test_a_fixed_batch_is_refused() -> None:
    maker = Maker()
    maker.node("Identity", "latent", output="sample")
    fixed = tuple(replace(tensor, shape=(4, 3)) for tensor in (*INPUTS, *OUTPUTS))
    with pytest.raises(GraphRefused, match="fixed batch of 4"):
        compiled(replace(identity(), model=maker.model(fixed[:1], fixed[1:])))


@pytest.mark.parametrize("batch", [2, None])
def test_an_output_of_the_wrong_shape_is_a_failed_session(batch: int | None) -> None:
    maker = Maker()
    maker.node("Concat", "latent", "latent", output="sample", axis=0)
    spec = GraphSpec(maker.model(INPUTS, OUTPUTS), INPUTS, OUTPUTS, {})
    with pytest.raises(SessionFailed, match=r"output sample has shape \(4, 3\) for a batch of 2"):
        compiled(spec, batch).compute({"latent": GOLDEN_LATENT[:2]}, ["sample"])


def test_a_batch_of_another_size_than_the_compiled_one_is_a_failed_session() -> None:
    session = compiled(identity(), batch=2)
    with pytest.raises(SessionFailed, match="the generator's session failed"):
        session.compute({"latent": GOLDEN_LATENT[:3]}, ["sample"])
    assert session.compute({"latent": GOLDEN_LATENT[:2]}, ["sample"])["sample"].tolist() == GOLDEN_LATENT[:2].tolist()


def test_importing_it_is_not_reported_to_anyone() -> None:
    """A process of its own, whose every connection and every child is noted from before the import on."""
    program = (
        "import sys; seen = []; "
        "sys.addaudithook(lambda event, _: seen.append(event) if event.startswith(('socket.', 'os.fork', 'os.exec', "
        "'os.posix_spawn', 'subprocess.')) else None); "
        "import service.engine.backends.openvino; print(seen)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


UNLOAD_AND_SIGNAL = """
import gc, signal, sys, threading
from service.engine.backends.openvino import OpenVINOGraph
from tests.support.toy import toy_graphs
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
graphs = [OpenVINOGraph("generator", toy_graphs().generator, "fp32")]
sessions = [graphs[0].compile(1, 1)]
freeing = threading.Thread(target=lambda: (sessions.clear(), graphs.clear(), gc.collect()))
freeing.start()
freeing.join()
signal.raise_signal(signal.SIGTERM)
print(*heard)
"""


def test_a_signal_is_handled_after_a_graph_was_freed_on_another_thread() -> None:
    command = [sys.executable, "-c", UNLOAD_AND_SIGNAL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "SIGTERM\n"), done.stderr
