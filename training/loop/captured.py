"""A training step as a CUDA graph: all its kernels, recorded once and launched together.

    a few steps as usual   memory is allocated, plans are chosen, Adam's moments are made
    capture                the step's Python code runs once more; the device records it and computes nothing
    replay                 one launch; inputs, learning rates and weights of terms are read from where they always are

A small network's step is hundreds of kernels that take less time than their launches. The recorded step is the same
code as the plain one, with tensors in place of the numbers that change. `EagerGraphs` runs it in place of the graph, so
that everything but the recording itself can be tested on a CPU.

References:
    PyTorch, CUDA semantics, section "CUDA Graphs": whole-network capture, warm-up on a side stream.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import torch
from torch import Tensor

from training.config import Config
from training.errors import ConfigError

WARM_UP_STEPS: Final = 3  # as in PyTorch's recipe
STEPS_BEFORE_REPLAY: Final = 1 + WARM_UP_STEPS + 1  # the first finds out what a step asks for, the last is captured

Work = Callable[[], None]


def check(config: Config, device: torch.device, processes: int) -> None:
    """Refuse what cannot be captured.

    Raises:
        ConfigError: if steps are to be captured and the device, the number of processes or the configuration does not
            allow it.
    """
    pace, reason = config.trainer, None
    if device.type != "cuda":
        reason = f"needs a CUDA device, and this run is on {device.type}"
    elif processes > 1:
        reason = f"captures the step of one process, and {processes} train together"
    elif pace.optimizer != "adam":
        reason = f'captures Adam\'s steps; optimizer = "{pace.optimizer}" keeps its own on the CPU'
    elif pace.beta2_start != "constant":
        reason = "records Adam's betas as they are; leave out beta2_start"
    elif pace.precision == "fp16":
        reason = "cannot capture precision fp16, where each step waits for the loss scale; bf16 has none"
    if pace.cuda_graph and reason is not None:
        raise ConfigError(f"[trainer] cuda_graph {reason}")


class Graphs(Protocol):
    """How steps are captured."""

    def warm_up(self, work: Work) -> None:
        """Run a step that is to be captured later."""
        ...

    def capture(self, work: Work) -> Work:
        """Record a step without running it.

        Returns:
            What runs it.
        """
        ...


class EagerGraphs:
    """Runs the step again where a graph would be replayed."""

    def warm_up(self, work: Work) -> None:
        """Run the step."""
        work()

    def capture(self, work: Work) -> Work:
        """The step itself."""
        return work


class CudaGraphs:
    """Captures with `torch.cuda.graph`.

    Args:
        optimizers: of the step.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._optimizers = optimizers
        self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # not in torch's own types

    def warm_up(self, work: Work) -> None:
        """Run the step on another stream, behind what is queued and before what follows."""
        self._side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._side):
            work()
        torch.cuda.current_stream().wait_stream(self._side)

    def capture(self, work: Work) -> Work:
        """Record the step.

        Raises:
            ConfigError: if the device cannot record one of its operations.
        """
        graph = torch.cuda.CUDAGraph()
        self._set_capturable(capturable=True)
        try:
            # Only this thread is recorded; another one draws the next inputs meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
        except RuntimeError as error:
            first_line = str(error).partition("\n")[0]
            raise ConfigError(f"[trainer] cuda_graph cannot capture this step ({first_line}); leave it out") from error
        finally:
            self._set_capturable(capturable=False)
        return graph.replay

    def _set_capturable(self, *, capturable: bool) -> None:
        """Say whether an optimizer is about to be captured; a fused one computes the same either way."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["capturable"] = capturable


class CapturedStep:
    """Steps that have the same terms: some to warm up, then the graph."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._warm_ups = 0
        self._replay: Work | None = None
        self._names: list[str] = []
        self._readings = torch.empty(0)

    def run(self, send: Work, step: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Run one step.

        Args:
            send: puts the step's inputs where it reads them.
            step: reads nothing else that changes.

        Returns:
            The readings, scalars on the device that later steps leave as they are.
        """

        def work() -> None:
            readings = step()
            together = torch.stack(list(readings.values()))
            if not self._names:
                self._names, self._readings = list(readings), torch.empty_like(together)
            self._readings.copy_(together)

        def warm_up() -> None:
            send()
            work()

        if self._replay is None and self._warm_ups < WARM_UP_STEPS:
            self._warm_ups += 1
            self._graphs.warm_up(warm_up)
        else:
            if self._replay is None:
                self._replay = self._graphs.capture(work)
            send()
            self._replay()
        return dict(zip(self._names, self._readings.clone().unbind(), strict=True))
