"""The device's thread runs what it is given, one after the other, whoever gives it."""

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from service.engine.batching.device_thread import DeviceThread, OnDevice
from service.errors import NotReady, SessionFailed
from tests.support.device import FakeDevice
from tests.support.gate import PATIENCE_S, TOY, toy_latents


def called_from(count: int, function: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)


def test_whichever_thread_asks_a_session_runs_on_the_devices_and_never_twice_at_a_time() -> None:
    device, fake = DeviceThread(), FakeDevice(run_s={1: 1e-3})
    session = OnDevice(fake.session(TOY.generator), device)
    called_from(8, lambda: session.compute({"latent": toy_latents(0, 1)}, ["sample"]))
    assert (len(fake.threads), fake.most_running, fake.runs) == (1, 1, {1: 8})
    assert fake.threads == {device.call(threading.get_ident)}
    device.stop()


def test_a_session_on_the_device_is_what_it_was() -> None:
    device, session = DeviceThread(), FakeDevice().session(TOY.generator)
    on_device = OnDevice(session, device)
    assert (on_device.graph, on_device.runtime) == (session.graph, session.runtime)
    assert (on_device.provider, on_device.precision) == (session.provider, session.precision)


def test_what_a_call_raises_is_its_callers_and_the_thread_goes_on() -> None:
    device = DeviceThread()
    session = OnDevice(FakeDevice(fails_after=0).session(TOY.generator), device)
    with pytest.raises(SessionFailed):
        session.compute({"latent": toy_latents(0, 1)}, ["sample"])
    assert device.call(lambda: 7) == 7
    device.stop()


def test_a_call_from_the_thread_itself_runs_at_once() -> None:
    device = DeviceThread()
    assert device.call(lambda: device.call(threading.get_ident)) == device.call(threading.get_ident)
    device.stop()


def test_the_thread_starts_with_its_first_task_and_ends_behind_the_last() -> None:
    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before]

    before, ran = set(threading.enumerate()), threading.Event()
    device = DeviceThread()
    assert threads() == []
    device.start(ran.set)
    (thread,) = threads()
    device.stop()
    thread.join(PATIENCE_S)
    assert ran.is_set()
    with pytest.raises(NotReady):
        device.call(lambda: None)


def test_a_waiting_thread_holds_nothing_of_what_it_ran() -> None:
    device, held = DeviceThread(), threading.Event()
    reference = weakref.ref(held)
    device.call(held.set)
    del held
    device.call(lambda: None)
    gc.collect()
    assert reference() is None
    device.stop()


def test_the_thread_ends_with_the_last_session_on_it() -> None:
    before = set(threading.enumerate())
    session = OnDevice(FakeDevice().session(TOY.generator), DeviceThread())
    session.compute({"latent": toy_latents(0, 1)}, ["sample"])
    (thread,) = (thread for thread in threading.enumerate() if thread not in before)
    assert thread.is_alive()
    del session
    gc.collect()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_session_is_freed_on_the_devices_thread() -> None:
    freed_on: list[int] = []
    freed = threading.Event()

    def note() -> None:
        freed_on.append(threading.get_ident())
        freed.set()

    device, fake = DeviceThread(), FakeDevice()
    session = fake.session(TOY.generator)
    fake.opened.clear()
    weakref.finalize(session, note)
    on_device = OnDevice(session, device)
    on_device.compute({"latent": toy_latents(0, 1)}, ["sample"])
    del session, on_device
    assert freed.wait(PATIENCE_S)
    assert freed_on == [device.call(threading.get_ident)]
    device.stop()
