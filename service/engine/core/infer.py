"""One graph asked by its tensors' own names: the way of an `InferJob`, past pixels and judges.

    given tensors ──┐
    seeds ──drawn───┴▶ rows by name ─▶ the graph's workers, with everybody else's ─▶ outputs by name

What a caller gives is computed as it stands: of a latent that is not finite come samples that mean nothing, and they
are nobody else's. Only ids are held to their range, since one that does not exist would fail the whole run. What a
caller leaves out of the generator's inputs is drawn from the seeds as a `GenerateJob` draws it.

Shapes: N samples.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from service.engine.batching.input_buffers import Rows
from service.engine.batching.request import RowSource
from service.engine.core.pipeline import RunningGraph
from service.engine.core.validation import Capabilities
from service.engine.finite import all_ordinary
from service.engine.interface import InferJob
from service.engine.loading.signature import Tensors
from service.engine.model_spec import Array, Role, TensorSpec
from service.engine.sampling import sampler
from service.engine.sampling.batched import (
    CodeSampling,
    PendingSample,
    SamplingSpec,
    code_sampling,
    label_sampling,
    latent_sampling,
)
from service.engine.sampling.codes import code_tensor
from service.errors import InvalidRequest, Problem

SamplingSpecs = dict[Role, SamplingSpec]


async def infer(
    job: InferJob, graph: RunningGraph, capabilities: Capabilities, deadline: float | None
) -> dict[str, Array]:
    """Answer one job.

    Args:
        job: for this graph.
        graph: it.
        capabilities: of its package.
        deadline: on `time.monotonic`; None never.

    Returns:
        Output name → [N, …], of the stated types.

    Raises:
        InvalidRequest: the job does not fit the graph.
        TryAgainError: as `Batcher.ask` says.
        SessionFailed: likewise.
        NotFinite: likewise; not where the caller gave numbers that are not finite, or beyond all reason.
    """
    count, rows = plan(job, graph.inputs, graph.outputs, capabilities)
    expect_finite = all_ordinary(job.inputs.values())
    return await graph.batcher.ask(rows, count, list(job.outputs), deadline, expect_finite=expect_finite)


def plan(job: InferJob, inputs: Tensors, outputs: Tensors, capabilities: Capabilities) -> tuple[int, RowSource]:
    """Hold a job against the graph that it asks; pure.

    Args:
        job: which tensors it gives, which it wants.
        inputs: the graph's, by role.
        outputs: likewise.
        capabilities: of the package.

    Returns:
        N, and what writes the rows of some of the samples.

    Raises:
        InvalidRequest: a tensor is unknown, missing or not the stated one; an id does not exist.
    """
    _check_known("inputs", job.inputs, inputs)
    _check_known("outputs", job.outputs, outputs)
    if not job.outputs or len(set(job.outputs)) < len(job.outputs):
        raise _invalid("outputs", "name at least one output, and each only once")
    specs = _sampling_specs(job, inputs, capabilities)
    counts = {} if job.seeds is None else {"seeds": len(job.seeds)}
    for tensor in inputs.values():
        if tensor.name in job.inputs:
            counts[tensor.name] = _count(job.inputs[tensor.name], tensor)
            _check_ids(job.inputs[tensor.name], tensor, capabilities)
        elif tensor.role not in specs:
            raise _invalid("inputs", f"`{tensor.name}` is missing")
    if len(set(counts.values())) > 1:
        raise _invalid("inputs", f"each input needs as many rows as the others, not {counts}")
    count = next(iter(counts.values()))
    if "logit" in outputs and capabilities.largest_group is not None and count > capabilities.largest_group:
        words = f"this discriminator judges samples together, at most {capabilities.largest_group} at a time"
        raise _invalid("inputs", words)

    given = {role: job.inputs[tensor.name] for role, tensor in inputs.items() if tensor.name in job.inputs}

    def write(start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        for role, values in given.items():
            rows[role][:] = values[start:stop]
        if job.seeds is None:
            return ()
        seeds = job.seeds[start:stop]
        return [PendingSample(spec, seeds, None, _taker(spec, rows[role])) for role, spec in specs.items()]

    return count, write


def _sampling_specs(job: InferJob, inputs: Tensors, capabilities: Capabilities) -> SamplingSpecs:
    """By role, how what is left out of the inputs is drawn.

    Raises:
        InvalidRequest: the sampler cannot draw from these seeds, or nothing is left to draw.
    """
    seeds, codes, classes = job.seeds, capabilities.codes, capabilities.label_count
    if seeds is None:
        return {}
    if not len(seeds):
        raise _invalid("seeds", "at least one seed is needed")
    sampler.check_seeds(seeds, capabilities.prior, job.sampler)
    by_role: dict[Role, SamplingSpec] = {
        "latent": latent_sampling(capabilities.latent_size, capabilities.prior, job.sampler)
    }
    if classes is not None:
        by_role["label"] = label_sampling(classes)
    if codes is not None:
        by_role["code"] = code_sampling(codes)
    left_out = [role for role, tensor in inputs.items() if tensor.name not in job.inputs]
    specs = {role: by_role[role] for role in left_out if role in by_role}
    if "latent" not in inputs or not specs:
        raise _invalid("seeds", "there is nothing that a seed would draw: only a generator's inputs are, if left out")
    return specs


def _taker(spec: SamplingSpec, rows: Array) -> Callable[[Array], None]:
    """Writes what a spec drew as the graph takes it."""

    def take(drawn: Array) -> None:
        match spec:
            case CodeSampling(codes):
                rows[:] = code_tensor(drawn.astype(np.float64, copy=False), codes)
            case _:
                rows[:] = drawn

    return take


def _check_known(place: str, names: Collection[str], tensors: Tensors) -> None:
    known = [tensor.name for tensor in tensors.values()]
    if not set(names) <= set(known):
        raise _invalid(place, f"the {place} of this graph are {', '.join(known)}; there are no others")


def _count(values: Array, tensor: TensorSpec) -> int:
    """How many rows a given input has, if it is the stated one."""
    fits = values.ndim == len(tensor.shape) and values.shape[1:] == tensor.shape[1:] and len(values) > 0
    if values.dtype != tensor.dtype or not fits:
        stated = f"{tensor.datatype} {list(tensor.shape)} with 1 or more in place of -1"
        raise _invalid("inputs", f"`{tensor.name}` is {stated}, not {values.dtype} {list(values.shape)}")
    return len(values)


def _check_ids(values: Array, tensor: TensorSpec, capabilities: Capabilities) -> None:
    """Hold classes, conditions and items to those there are; every other input may be any number."""
    ids: dict[Role, int | None] = {
        "label": capabilities.label_count, "condition": capabilities.condition_count, "sample": capabilities.item_count
    }  # fmt: skip
    known = ids.get(tensor.role)
    if known is not None and (values.min() < np.int64(0) or values.max() >= np.int64(known)):
        raise _invalid("inputs", f"`{tensor.name}` holds numbers from 0 to {known - 1}")


def _invalid(place: str, message: str) -> InvalidRequest:
    return InvalidRequest(Problem((place,), message))
