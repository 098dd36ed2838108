"""Runs through bound tensors answer what plain runs do, and are not used where they do not."""

import ctypes
import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from pydantic import ValidationError

from service.engine.backends import binding
from service.engine.backends.binding import BoundSession
from service.engine.backends.onnxruntime import Session
from service.engine.config import CPU, CUDA, Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import onnxruntime_instances
from service.engine.model_spec import Feeds, GraphSpec
from service.errors import SessionFailed
from service.settings import Settings
from tests.support.cuda import FakeCuda, fake_cuda
from tests.support.graph_makers import GOLDEN_LATENT, TOLERANCE, identity
from tests.support.toy import TOLERANCES, toy_graphs

SPEC = toy_graphs().generator
SIZES = [1, 2, 4, 8, 16]


def feeds(size: int, spec: GraphSpec = SPEC, shift: float = 0.0) -> Feeds:
    made: Feeds = {}
    for tensor in spec.inputs:
        golden = spec.golden[tensor.name]
        made[tensor.name] = np.resize(golden, (size, *golden.shape[1:]))
    made["latent"] = np.add(made["latent"], shift, dtype=np.float32)
    return made


def plain() -> Session:
    return Session("generator", SPEC, "cpu", 1)


def bound(session: Session | None = None) -> BoundSession:
    return BoundSession(session or plain(), SPEC, "cpu")


@pytest.mark.parametrize("size", SIZES)
def test_bound_runs_give_the_bytes_of_plain_ones(size: int) -> None:
    outputs = [output.name for output in SPEC.outputs]
    session, reference = bound(), plain()
    for run in range(4):
        given = feeds(size, shift=run / 8)
        answer, expected = session.compute(given, outputs), reference.compute(given, outputs)
        assert [answer[name].tobytes() for name in outputs] == [expected[name].tobytes() for name in outputs]
        assert [answer[name].dtype for name in outputs] == [expected[name].dtype for name in outputs]
    assert session.binds(size)


def test_no_later_run_writes_to_an_answer() -> None:
    session = bound()
    session.compute(feeds(4), ["sample"])
    first = session.compute(feeds(4), ["sample"])["sample"]
    kept = first.tobytes()
    for run in range(1, 4):
        assert session.compute(feeds(4, shift=run), ["sample"])["sample"].tobytes() != kept
    assert first.tobytes() == kept


def test_only_the_outputs_asked_for_come_back() -> None:
    session = bound()
    for _ in range(2):
        assert list(session.compute(feeds(2), ["pixels"])) == ["pixels"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda given: {"no such input": given["latent"]},
        lambda given: {"latent": given["latent"].astype(np.int64)},
        lambda given: {"latent": np.ones((2, 3), np.float32)},
        lambda given: {"latent": given["latent"].reshape(2, 2, -1)},
    ],
)
def test_inputs_that_are_not_the_stated_ones_fail(spoil: Callable[[Feeds], Feeds]) -> None:
    session = bound()
    expected = session.compute(feeds(2), ["sample"])["sample"].tobytes()
    with pytest.raises(SessionFailed, match="the generator's session failed"):
        session.compute(spoil(feeds(2)), ["sample"])
    assert session.compute(feeds(2), ["sample"])["sample"].tobytes() == expected


class _Native:
    """A session of ONNX Runtime whose bound runs a test changes."""

    def __init__(self, real: ort.InferenceSession, run: Callable[[], None]) -> None:
        self._real = real
        self._run = run

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a session has)
        return getattr(self._real, name)

    def run_with_iobinding(self, bound: ort.IOBinding, options: ort.RunOptions) -> None:
        self._run()
        self._real.run_with_iobinding(bound, options)


def failing(after: int) -> BoundSession:
    runs = iter(range(after))
    session = plain()

    def run() -> None:
        if next(runs, None) is None:
            raise RuntimeError("no bound run today")

    session.native = _Native(session.native, run)
    return bound(session)


def test_where_bound_runs_fail_at_the_comparison_batches_are_run_plainly(caplog: pytest.LogCaptureFixture) -> None:
    session = failing(after=1)
    for _ in range(3):
        assert (
            session.compute(feeds(2), ["sample"])["sample"].tobytes()
            == plain().compute(feeds(2), ["sample"])["sample"].tobytes()
        )
    assert not session.binds(2)
    assert caplog.text.count("batches of 2 are run plainly; through bound tensors: no bound run today") == 1


def test_a_bound_run_that_fails_while_serving_is_an_error_of_ours() -> None:
    session = failing(after=2)
    session.compute(feeds(2), ["sample"])
    with pytest.raises(SessionFailed, match="the generator's session failed"):
        session.compute(feeds(2), ["sample"])


class Replaying(FakeCuda):
    """A card whose captured graphs are replayed, with the inputs of the capture where `forgets`."""

    forgets = False
    ids: list[str]
    provider_options: list[Mapping[str, str]]

    def open(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (as onnxruntime has it)
        opened = super().open(*arguments, **options)
        card, captured = self, set[str]()

        class Session(type(opened)):  # type: ignore[misc]
            def run_with_iobinding(self, bound: ort.IOBinding, run_options: ort.RunOptions) -> None:
                try:
                    graph = run_options.get_run_config_entry("gpu_graph_id")
                except RuntimeError:
                    graph = ""
                card.ids.append(graph)
                if not (card.forgets and graph in captured):
                    self._session.run_with_iobinding(bound, run_options)
                captured.add(graph)

            def io_binding(self) -> ort.IOBinding:
                return self._session.io_binding()

        opened.__class__ = Session
        return opened


def load(monkeypatch: pytest.MonkeyPatch, *, cuda_graph: bool, forgets: bool = False) -> Replaying:
    monkeypatch.setattr(BoundSession.__init__, "__defaults__", ("cpu",))
    card = fake_cuda(monkeypatch, kind=Replaying)
    assert isinstance(card, Replaying)
    card.ids, card.forgets = [], forgets
    spec = VerificationSpec(identity(), [*TOLERANCES, TOLERANCE], 4, "strict")
    runtime = Runtime(device="cuda", threads=1, binding=True, cuda_graph=cuda_graph)
    instances, report = onnxruntime_instances("generator", runtime, spec)
    assert report.provider == CUDA
    latent = GOLDEN_LATENT[:4]
    assert instances.single_thread.compute({"latent": latent}, ["sample"])["sample"].tolist() == latent.tolist()
    return card


def captures(card: FakeCuda) -> list[bool]:
    return ["enable_cuda_graph" in options for names, options, _ in card.opened if names[0] == CUDA]


def test_with_the_binding_alone_nothing_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    card = load(monkeypatch, cuda_graph=False)
    assert len(card.ids) > 20
    assert set(card.ids) == {""}
    assert not any(captures(card))


def test_with_the_graph_every_size_is_captured_under_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    card = load(monkeypatch, cuda_graph=True)
    assert set(card.ids) == {"1", "2", "4"}
    assert captures(card)[-3:] == [True, True, True]


def test_a_graph_that_replays_its_captured_inputs_does_not_serve(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card = load(monkeypatch, cuda_graph=True, forgets=True)
    assert card.ids == ["1", "1", "2", "2", "4", "4"]
    assert caplog.text.count("other bytes than a plain run") == 3


def test_without_the_settings_and_on_the_cpu_nothing_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundSession, "compute", lambda *_: pytest.fail("it is bound"))
    spec = VerificationSpec(identity(), [*TOLERANCES, TOLERANCE], 4, "strict")
    on = Runtime(device="cpu", threads=1, binding=True, cuda_graph=True)
    assert onnxruntime_instances("generator", on, spec)[1].provider == CPU
    fake_cuda(monkeypatch)
    assert onnxruntime_instances("generator", Runtime(device="cuda", threads=1), spec)[1].provider == CUDA


def test_a_session_that_cannot_be_captured_is_opened_without_a_graph(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Uncapturable(FakeCuda):
        def open(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  (as onnxruntime has it)
            opened = super().open(*arguments, **options)
            if "enable_cuda_graph" in self.opened[-1][1]:
                raise RuntimeError("not all nodes are on CUDA")
            return opened

    fake_cuda(monkeypatch, kind=Uncapturable)
    assert not binding.open_capturing("generator", identity(), "HEURISTIC").captures
    assert "not all nodes are on CUDA; opened without a CUDA graph" in caplog.text


def test_the_graph_needs_the_binding() -> None:
    with pytest.raises(ValidationError, match="needs GANYMEDE_DEVICE_BINDING=on"):
        Settings(device_graph="on")
    assert Settings(device_graph="on", device_binding="on").device_graph == "on"


class FakeRuntime:
    """The calls of the CUDA runtime that pinned memory takes, on the host's own."""

    def __init__(self, alloc_error: int = 0, copy_error: int = 0) -> None:
        self.alloc_error = alloc_error
        self.copy_error = copy_error
        self.held: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.copies = 0

    def cudaHostAlloc(self, address: Any, size: ctypes.c_size_t, _flags: ctypes.c_uint) -> int:  # noqa: ANN401, N802  (byref)
        if not self.alloc_error:
            memory = ctypes.create_string_buffer(size.value)
            address._obj.value = ctypes.addressof(memory)
            self.held[ctypes.addressof(memory)] = memory
        return self.alloc_error

    def cudaFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        del self.held[address.value or 0]
        return 0

    def cudaMemcpy(  # noqa: N802
        self, target: ctypes.c_void_p, source: ctypes.c_void_p, size: ctypes.c_size_t, _kind: ctypes.c_int
    ) -> int:
        self.copies += 1
        if not self.copy_error:
            ctypes.memmove(target, source, size.value)
        return self.copy_error


@pytest.mark.parametrize("size", SIZES)
def test_outputs_that_come_through_pinned_memory_are_those_of_plain_runs_and_stay(size: int) -> None:
    runtime = FakeRuntime()
    session, reference = BoundSession(plain(), SPEC, "cpu", cuda_runtime=runtime), plain()
    names = [output.name for output in SPEC.outputs]
    session.compute(feeds(size), names)
    answers = [session.compute(feeds(size, shift=run / 8), names) for run in range(3)]
    for run, answer in enumerate(answers):
        expected = reference.compute(feeds(size, shift=run / 8), names)
        assert [answer[name].tobytes() for name in names] == [expected[name].tobytes() for name in names]
        assert [(answer[name].dtype, answer[name].shape) for name in names] == [
            (expected[name].dtype, expected[name].shape) for name in names
        ]
    assert session.binds(size)
    assert runtime.copies >= 3 * len(names)


def test_pinned_memory_is_freed_with_its_session() -> None:
    runtime = FakeRuntime()
    session = BoundSession(plain(), SPEC, "cpu", cuda_runtime=runtime)
    session.compute(feeds(2), ["sample"])
    assert len(runtime.held) == len(SPEC.outputs)
    del session
    gc.collect()
    assert runtime.held == {}


def test_where_there_is_no_pinned_memory_batches_are_run_plainly(caplog: pytest.LogCaptureFixture) -> None:
    session = BoundSession(plain(), SPEC, "cpu", cuda_runtime=FakeRuntime(alloc_error=2))
    assert (
        session.compute(feeds(2), ["sample"])["sample"].tobytes()
        == plain().compute(feeds(2), ["sample"])["sample"].tobytes()
    )
    assert not session.binds(2)
    assert "CUDA error 2" in caplog.text


def test_a_copy_that_fails_while_serving_is_a_failed_session() -> None:
    runtime = FakeRuntime()
    session = BoundSession(plain(), SPEC, "cpu", cuda_runtime=runtime)
    session.compute(feeds(2), ["sample"])
    runtime.copy_error = 700
    with pytest.raises(SessionFailed):
        session.compute(feeds(2), ["sample"])


def test_pinned_memory_needs_the_binding() -> None:
    with pytest.raises(ValidationError, match="GANYMEDE_DEVICE_BINDING=on"):
        Settings(device_pinned="on")
    assert Settings(device_pinned="on", device_binding="on").device_pinned == "on"
