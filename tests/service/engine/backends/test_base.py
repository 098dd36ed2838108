"""Many sessions of one graph act as one runner: one per batch size, or one per caller."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engine.backends.base import SessionPerBatchSize, SessionPool
from service.engine.backends.onnxruntime import Session
from service.engine.model_spec import Feeds, Outputs
from service.errors import SessionFailed
from tests.support.device import FakeDevice
from tests.support.graph_makers import GOLDEN_LATENT, identity, shifted_from

PATIENCE_S = 20.0  # for what must happen: long enough for a busy machine, and never spent when all is well


def session(shift: float = 0.0) -> Session:
    """A session whose samples are its latents, shifted: so an answer says which session gave it."""
    return Session("generator", shifted_from(batch=1, shift=shift), device="cpu", threads=1)


class Noted(Session):
    """A session that notes how many are in it, and holds each until so many callers are in any of its kind."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__("generator", identity(), device="cpu", threads=1)
        self.inside = 0
        self.most = 0
        self._barrier = barrier

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self._barrier.wait(PATIENCE_S)
        self.inside -= 1
        return super().compute(feeds, outputs)


def test_a_batch_goes_to_the_session_of_its_size() -> None:
    runner = SessionPerBatchSize({1: session(shift=0.5), 4: session(shift=2.0)})
    assert runner.compute({"latent": GOLDEN_LATENT[:1]}, ["sample"])["sample"][0, 0] == GOLDEN_LATENT[0, 0] + 0.5
    assert runner.compute({"latent": GOLDEN_LATENT[:4]}, ["sample"])["sample"][3, 0] == GOLDEN_LATENT[3, 0] + 2.0


def test_sizes_that_are_not_kept_have_no_session() -> None:
    runner = SessionPerBatchSize({size: session() for size in (1, 2, 4)}).only((1, 4))
    assert len(runner.compute({"latent": GOLDEN_LATENT[:4]}, ["sample"])["sample"]) == 4
    with pytest.raises(KeyError):
        runner.compute({"latent": GOLDEN_LATENT[:2]}, ["sample"])


def test_sessions_on_different_providers_are_not_one_runner() -> None:
    """As where the device's memory is full after some of them, and the others are opened on the CPU."""
    with pytest.raises(SessionFailed, match="different providers: CPUExecutionProvider, CUDAExecutionProvider"):
        SessionPerBatchSize({1: FakeDevice().session(identity()), 2: session()})


def test_sessions_of_one_graph_are_what_each_of_them_is() -> None:
    one = session()
    many = SessionPerBatchSize({1: one, 2: session()})
    assert (many.graph, many.runtime, many.provider, many.precision) == (
        one.graph,
        one.runtime,
        one.provider,
        one.precision,
    )


def test_callers_share_the_sessions_of_a_pool_and_no_two_are_in_the_same() -> None:
    both = threading.Barrier(2)
    sessions = [Noted(both), Noted(both)]
    pool = SessionPool(sessions)
    with ThreadPoolExecutor(2) as callers:
        answers = callers.map(lambda _: pool.compute({"latent": GOLDEN_LATENT}, ["sample"]), range(20))
    assert all(answer["sample"].tolist() == GOLDEN_LATENT.tolist() for answer in answers)
    assert [each.most for each in sessions] == [1, 1]


def test_a_session_comes_back_to_its_pool_after_a_run_that_failed() -> None:
    pool = SessionPool([session()])
    with pytest.raises(Exception, match="session failed"):
        pool.compute({"no such input": GOLDEN_LATENT}, ["sample"])
    assert len(pool.compute({"latent": GOLDEN_LATENT}, ["sample"])["sample"]) == len(GOLDEN_LATENT)
