"""A graph whose bytes change from run to run on a device is computed in another form there, or on another device."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from service.engine.backends.base import InstanceGroup
from service.engine.config import CPU, CUDA, Device, Reproducibility, Runtime
from service.engine.loading.batch_invariance import DEVICE_REPEATS, VerificationSpec
from service.engine.loading.graph_forms import GraphForm, Loaded, load_reproducibly
from service.engine.loading.instances import instances_per_batch_size, onnxruntime_instances
from service.engine.model_spec import GraphReport, GraphSpec
from service.errors import GoldenMismatch, GraphRefused, NotReproducible, SessionFailed
from tests.support.cuda import FakeCuda, fake_cuda
from tests.support.device import CUDA_TOLERANCE, FakeClock, FakeDevice, last_bits
from tests.support.graph_makers import GOLDEN_LATENT, TOLERANCE, identity, not_a_number, transposed

SIZES = (1, 2, 4)
NOW_AND_THEN = DEVICE_REPEATS - 1


def unsteady(*sizes: int) -> FakeDevice:
    return FakeDevice(unsteady=dict.fromkeys(sizes, NOW_AND_THEN), clock=FakeClock())


class Forms:
    """A device in each form; notes which of them were loaded."""

    def __init__(self, **devices: FakeDevice) -> None:
        self.devices = devices
        self.loaded: list[str] = []

    def load(self, form: GraphForm, verification: VerificationSpec) -> Loaded:
        device = self.devices[form.name]
        assert device.clock is not None
        self.loaded.append(form.name)
        assert not (form.is_rewritten and b"ConvTranspose" in verification.spec.model)
        return instances_per_batch_size(
            device.session(verification.spec), lambda: device.session(verification.spec), verification, device.clock
        )


def loaded(forms: Forms, spec: GraphSpec | None = None, mode: Reproducibility = "strict") -> Loaded:
    verification = VerificationSpec(spec or transposed(), [CUDA_TOLERANCE], SIZES[-1], mode)
    return load_reproducibly("generator", forms.load, verification)


def reported(forms: Forms, spec: GraphSpec | None = None, mode: Reproducibility = "strict") -> GraphReport:
    return loaded(forms, spec, mode)[1]


def test_a_graph_that_is_steady_as_stated_is_loaded_in_no_other_form() -> None:
    forms = Forms(heuristic=unsteady(1))
    assert reported(forms).buckets == (2, 4)
    assert forms.loaded == ["heuristic"]


def test_the_forms_are_tried_in_their_order_until_one_is_steady() -> None:
    forms = Forms(heuristic=unsteady(*SIZES), exhaustive=unsteady())
    assert reported(forms).buckets == SIZES
    assert forms.loaded == ["heuristic", "exhaustive"]
    forms = Forms(heuristic=unsteady(*SIZES), exhaustive=unsteady(*SIZES), as_convolutions=unsteady())
    assert reported(forms).buckets == SIZES
    assert forms.loaded == ["heuristic", "exhaustive", "as_convolutions"]


def test_of_forms_that_are_steady_in_small_batches_alone_that_with_the_largest_serves() -> None:
    forms = Forms(heuristic=unsteady(2, 4), exhaustive=unsteady(4), as_convolutions=unsteady(2, 4))
    assert reported(forms).buckets == (1, 2)
    assert forms.loaded == ["heuristic", "exhaustive", "as_convolutions"]
    forms = Forms(heuristic=unsteady(4), exhaustive=unsteady(4), as_convolutions=unsteady(*SIZES))
    instances, report = loaded(forms)
    assert report.buckets == (1, 2)
    before = forms.devices["heuristic"].runs.total()
    instances.single_thread.compute({"latent": GOLDEN_LATENT[:2]}, ["sample"])
    assert forms.devices["heuristic"].runs.total() == before + 1  # of equals, the first


def test_a_device_that_is_steady_in_no_form_is_refused_with_the_forms() -> None:
    forms = Forms(heuristic=unsteady(*SIZES), exhaustive=unsteady(*SIZES), as_convolutions=unsteady(*SIZES))
    with pytest.raises(NotReproducible, match=r"in no form \(heuristic, exhaustive, as_convolutions\)"):
        reported(forms)


def test_a_form_that_fails_is_passed_over_unless_it_is_the_graph_as_stated() -> None:
    failing = FakeDevice(fails_after=3, failure="no_plan", clock=FakeClock())
    forms = Forms(heuristic=unsteady(*SIZES), exhaustive=failing, as_convolutions=unsteady())
    assert reported(forms).buckets == SIZES
    with pytest.raises(SessionFailed):
        reported(Forms(heuristic=failing))
    with pytest.raises(GoldenMismatch):
        reported(Forms(heuristic=unsteady()), not_a_number())


def test_fast_and_batch_coupled_graphs_are_loaded_as_stated() -> None:
    forms = Forms(heuristic=unsteady(*SIZES))
    report = reported(forms, mode="fast")
    assert (report.buckets, report.reproducible) == (SIZES, False)
    assert reported(forms, replace(transposed(), batch_coupled=True)).buckets == ()
    assert forms.loaded == ["heuristic", "heuristic"]


@dataclass
class UnsteadyCuda(FakeCuda):
    """A card on which runs in some forms answer other bits now and then.

    Attributes:
        steady: names of the forms in which they do not.
    """

    steady: frozenset[str] = field(default_factory=frozenset)

    def open(self, model: bytes, options: Any, providers: Any, enable_fallback: int = 1) -> Any:  # noqa: ANN401
        session = super().open(model, options, providers, enable_fallback)
        names, own, _ = self.opened[-1]
        searched = own.get("cudnn_conv_algo_search", "").lower()
        form = searched if b"ConvTranspose" in model else "as_convolutions"
        return session if names[0] == CPU or form in self.steady else _Unsteady(session)


class _Unsteady:
    def __init__(self, session: Any) -> None:  # noqa: ANN401
        self._session = session
        self._runs = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._session, name)

    def run(self, outputs: Any, feeds: Mapping[str, Any], options: Any = None) -> list[Any]:  # noqa: ANN401
        self._runs += 1
        is_odd = self._runs % NOW_AND_THEN == 0
        return [last_bits(values, int(is_odd)) for values in self._session.run(outputs, feeds, options)]


def load(device: Device, spec: GraphSpec | None = None) -> tuple[InstanceGroup, GraphReport]:
    verification = VerificationSpec(spec or transposed(), [TOLERANCE, CUDA_TOLERANCE], SIZES[-1], "strict")
    return onnxruntime_instances("generator", Runtime(device=device, threads=1), verification)


@pytest.mark.parametrize("form", ["heuristic", "exhaustive", "as_convolutions"])
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_report_says_which_form_serves(monkeypatch: pytest.MonkeyPatch, device: Device, form: str) -> None:
    fake_cuda(monkeypatch, kind=UnsteadyCuda, steady=frozenset({form}))
    _, report = load(device)
    assert report.device is not None
    assert (report.provider, report.device.form, report.buckets) == (CUDA, form, SIZES)


def test_a_graph_that_is_steady_in_no_form_runs_on_the_cpu_where_any_device_may_compute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_cuda(monkeypatch, kind=UnsteadyCuda)
    _, report = load("auto")
    assert (report.provider, report.device, report.buckets) == (CPU, None, SIZES)
    assert "refused on CUDA: generator: in no form" in caplog.text


def test_a_graph_that_is_steady_in_no_form_is_refused_where_cuda_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, kind=UnsteadyCuda)
    with pytest.raises(GraphRefused, match=r"in no form \(heuristic, exhaustive, as_convolutions\) does this device"):
        load("cuda")
    with pytest.raises(GraphRefused, match=r"in no form \(heuristic, exhaustive\) does this device"):
        load("cuda", identity())
