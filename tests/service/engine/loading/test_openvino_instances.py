"""OpenVINO's instances keep every promise that ONNX Runtime's keep; reduced precision is reported and bounded."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from service.engine.config import Precision, Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.model_spec import Array, Feeds, GraphSpec
from service.errors import GoldenMismatch, GraphRefused
from tests.support.graph_makers import GOLDEN_LATENT, TOLERANCE, identity, shifted_by_slot
from tests.support.toy import TOLERANCES, toy_graphs

session = pytest.importorskip("service.engine.backends.openvino")

from service.engine.loading.instances import openvino_instances  # noqa: E402  (an optional extra)

TINY = 2.0**-20  # within the tolerance, and exact in float32 next to the golden latents
SPEC = toy_graphs(height=12, width=12, golden_count=8).generator
HAS_BF16 = "BF16" in session.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def in_openvino(threads: int = 2, precision: Precision = "fp32") -> Runtime:
    return Runtime(backend="openvino", threads=threads, precision=precision)


def verification(spec: GraphSpec) -> VerificationSpec:
    return VerificationSpec(spec, [*TOLERANCES, TOLERANCE], 2, "strict")


def golden_feeds(batch: int) -> Feeds:
    return {"latent": np.resize(SPEC.golden["latent"], (batch, SPEC.golden["latent"].shape[1]))}


def test_single_thread_and_all_cores_give_the_same_bytes_in_every_size_from_any_thread() -> None:
    spec = toy_graphs(height=160, width=160).generator  # a run of a millisecond or so, worth spreading over cores
    instances, report = openvino_instances("generator", in_openvino(), verification(spec))
    assert (report.buckets, report.reproducible, instances.concurrency) == ((1, 2), True, 2)
    assert instances.all_cores is not None
    assert instances.single_thread_s.keys() == instances.all_cores_s.keys() == {1, 2}
    all_cores = {
        batch: instances.all_cores.compute(golden_feeds(batch), ["sample"])["sample"] for batch in report.buckets
    }
    batches = report.buckets * 20
    with ThreadPoolExecutor(2) as threads:
        samples = threads.map(
            lambda batch: instances.single_thread.compute(golden_feeds(batch), ["sample"])["sample"], batches
        )
        assert all(
            sample.tobytes() == all_cores[batch].tobytes() for batch, sample in zip(batches, samples, strict=True)
        )


def test_on_one_core_there_is_one_instance_and_none_of_all_cores() -> None:
    instances, _ = openvino_instances("generator", in_openvino(threads=1), verification(SPEC))
    assert (instances.concurrency, instances.all_cores, instances.all_cores_s) == (1, None, {})


def test_sizes_that_do_not_agree_do_not_serve() -> None:
    instances, report = openvino_instances("generator", in_openvino(), verification(shifted_by_slot(TINY)))
    assert report.buckets == tuple(instances.single_thread_s) == (1,)


def test_a_batch_coupled_graph_has_a_session_per_worker_for_groups_of_any_size() -> None:
    spec = toy_graphs(batch_coupled=True).discriminator
    assert spec is not None
    instances, report = openvino_instances("discriminator", in_openvino(), verification(spec))
    assert (report.buckets, instances.concurrency, instances.all_cores) == ((), 2, None)
    for group in (2, 3):
        assert (
            len(instances.single_thread.compute({"sample": spec.golden["sample"][:group]}, ["logit"])["logit"]) == group
        )


def test_what_strays_from_the_golden_outputs_is_refused() -> None:
    golden: dict[str, Array] = {"latent": GOLDEN_LATENT, "sample": GOLDEN_LATENT + np.float32(0.25)}
    with pytest.raises(GoldenMismatch, match=r"sample strays .* by 0.25; the tolerance on OpenVINO at fp32"):
        openvino_instances("generator", in_openvino(), verification(replace(identity(), golden=golden)))


def test_fp32_is_told_with_its_difference_in_pixels() -> None:
    _, report = openvino_instances("generator", in_openvino(threads=1), verification(SPEC))
    assert (report.provider, report.precision) == ("OpenVINO", "fp32")
    assert report.pixel_difference is not None
    assert report.pixel_difference.largest <= 1


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")
def test_fewer_bits_are_told_with_their_difference_in_pixels_and_keep_the_promise_of_equal_bytes() -> None:
    _, report = openvino_instances("generator", in_openvino(threads=1, precision="bf16"), verification(SPEC))
    assert (report.precision, report.buckets, report.reproducible) == ("bf16", (1, 2), True)
    assert report.pixel_difference is not None
    assert 0 < report.pixel_difference.largest < 26
    assert 0 < report.pixel_difference.mean < 1


@pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")
@pytest.mark.parametrize(("steps", "rows"), [(40, 1), (3, 8)], ids=["one pixel", "on average"])
def test_fewer_bits_that_stray_too_far_are_refused(steps: int, rows: int) -> None:
    pixels = SPEC.golden["pixels"].astype(np.int16)
    moved = np.where(pixels < 128, pixels + steps, pixels - steps)
    strayed = np.where(np.arange(len(pixels))[:, None, None, None] < rows, moved, pixels).astype(np.uint8)
    spec = replace(SPEC, golden={**SPEC.golden, "pixels": strayed})
    with pytest.raises(GoldenMismatch, match=r"pixels .*stray"):
        openvino_instances("generator", in_openvino(threads=1, precision="bf16"), verification(spec))


@pytest.mark.parametrize("kind", ["logit", "vector"])
def test_what_people_compute_with_stays_in_fp32(kind: str) -> None:
    spec = toy_graphs().discriminator if kind == "logit" else toy_graphs(kind="vector").generator
    assert spec is not None
    _, report = openvino_instances("graph", in_openvino(threads=1, precision="bf16"), verification(spec))
    assert (report.precision, report.pixel_difference) == ("fp32", None)


def test_cuda_is_refused_rather_than_replaced() -> None:
    with pytest.raises(GraphRefused, match="CUDA is asked for, but OpenVINO computes on the CPU"):
        openvino_instances("generator", Runtime(backend="openvino", device="cuda"), verification(SPEC))
