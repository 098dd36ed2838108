"""The inputs of an `InferJob`: tensors by the graph's own names, and what is left out of them drawn from seeds.

Given numbers are computed as they are, finite or not: they affect the caller's own outputs alone. Only ids are held to
their range, since one that does not exist would fail the whole run. What is left out is drawn as for a `GenerateJob`.

Shapes: N samples.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from service.engine.batching.input_buffers import Rows
from service.engine.finite import all_ordinary
from service.engine.interface import InferJob
from service.engine.loading.signature import Tensors
from service.engine.model_spec import Array, Capabilities, Role, TensorSpec
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


class TensorInputs:
    """The inputs of one job.

    Args:
        job: which tensors it gives, and which it wants.
        inputs: of its graph, by role.
        outputs: of its graph, by role.
        capabilities: of the package.

    Attributes:
        expect_finite: as `Inputs.expect_finite`.

    Raises:
        InvalidRequest: a tensor is unknown, missing or not the stated one; an id does not exist.
    """

    def __init__(self, job: InferJob, inputs: Tensors, outputs: Tensors, capabilities: Capabilities) -> None:
        _check_known("inputs", job.inputs, inputs)
        _check_known("outputs", job.outputs, outputs)
        if not job.outputs or len(set(job.outputs)) < len(job.outputs):
            raise _invalid("outputs", "name at least one output, and each only once")
        self._specs = _sampling_specs(job, inputs, capabilities)
        self._seeds = job.seeds
        self._count = _count_rows(job, inputs, capabilities, drawn=self._specs.keys())
        largest = capabilities.largest_group
        if "logit" in outputs and largest is not None and self._count > largest:
            raise _invalid("inputs", f"this discriminator judges samples together, at most {largest} at a time")
        self._given = {role: job.inputs[tensor.name] for role, tensor in inputs.items() if tensor.name in job.inputs}
        self.expect_finite = all_ordinary(self._given.values())

    def __len__(self) -> int:
        """N."""
        return self._count

    def write(self, start: int, stop: int, rows: Rows) -> Sequence[PendingSample]:
        """As `Inputs.write`."""
        for role, values in self._given.items():
            rows[role][:] = values[start:stop]
        if self._seeds is None:
            return ()
        seeds = self._seeds[start:stop]
        return [PendingSample(spec, seeds, None, _write_to(rows[role], spec)) for role, spec in self._specs.items()]


def _sampling_specs(job: InferJob, inputs: Tensors, capabilities: Capabilities) -> SamplingSpecs:
    """How the inputs that are left out are drawn, by role.

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


def _write_to(rows: Array, spec: SamplingSpec) -> Callable[[Array], None]:
    """Writes what was drawn as the graph takes it: codes as their tensor."""

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


def _count_rows(job: InferJob, inputs: Tensors, capabilities: Capabilities, drawn: Collection[Role]) -> int:
    """N, after a check that every input is given as stated or drawn, and that all have as many rows."""
    counts = {} if job.seeds is None else {"seeds": len(job.seeds)}
    for tensor in inputs.values():
        if tensor.name in job.inputs:
            counts[tensor.name] = _rows_of(job.inputs[tensor.name], tensor)
            _check_ids(job.inputs[tensor.name], tensor, capabilities)
        elif tensor.role not in drawn:
            raise _invalid("inputs", f"`{tensor.name}` is missing")
    if len(set(counts.values())) > 1:
        raise _invalid("inputs", f"each input needs as many rows as the others, not {counts}")
    return next(iter(counts.values()))


def _rows_of(values: Array, tensor: TensorSpec) -> int:
    """The number of rows of a given input, after a check that it is the stated one."""
    fits = values.ndim == len(tensor.shape) and values.shape[1:] == tensor.shape[1:] and len(values) > 0
    if values.dtype != tensor.dtype or not fits:
        stated = f"{tensor.datatype} {list(tensor.shape)} with 1 or more in place of -1"
        raise _invalid("inputs", f"`{tensor.name}` is {stated}, not {values.dtype} {list(values.shape)}")
    return len(values)


def _check_ids(values: Array, tensor: TensorSpec, capabilities: Capabilities) -> None:
    """Refuse classes, conditions and items that do not exist; every other input may be any number."""
    ids: dict[Role, int | None] = {
        "label": capabilities.label_count, "condition": capabilities.condition_count, "sample": capabilities.item_count
    }  # fmt: skip
    known = ids.get(tensor.role)
    if known is not None and (values.min() < np.int64(0) or values.max() >= np.int64(known)):
        raise _invalid("inputs", f"`{tensor.name}` holds numbers from 0 to {known - 1}")


def _invalid(place: str, message: str) -> InvalidRequest:
    return InvalidRequest(Problem((place,), message))
