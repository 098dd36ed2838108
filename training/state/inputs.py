"""What a training step asks of the CPU: rows of the data, latents, codes, random numbers, rates; one request each.

    Request ──▶ HostInputs.take      drawn on the CPU, a function of the iteration and the request
                DirectInputs.take    the same, sent to the device at once (`RecordedInputs`: and remembered)
                feeder.Slots.take    the same, drawn ahead and sent with all others

All three give the same values, so a step does not know from which it takes them.

Shapes: b this process's part of the batch, Z latent, K numbers a sample or width of the codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from training.augmentation import NumberSource, RandomNumbers
from training.codes import Codes
from training.state.batches import CODES, BatchStream, codes, random_stream

CPU = torch.device("cpu")


class Request(NamedTuple):
    """One request of a step.

    Attributes:
        what: `rows` [b] of the data or their `stored` samples [b, ...], which of them are `mirrored` [b], `latents`
            [b, Z], `codes` [b, K], `uniform` and `normal` numbers [b, K], or a `scalar`.
        turn: the optimizer step within the iteration; the critic's come first, the generator's is the last.
        stream: of uniform and normal numbers.
        width: K of uniform and normal numbers.
        name: of a scalar.
    """

    what: Literal["rows", "stored", "mirrored", "latents", "codes", "uniform", "normal", "scalar"]
    turn: int = 0
    stream: int = 0
    width: int = 1
    name: str = ""


class Inputs(Protocol):
    """Where a step takes what it needs."""

    def take(self, request: Request) -> Tensor:
        """The value of a request, on the device."""
        ...

    def numbers(self, turn: int, stream: int) -> NumberSource:
        """The random numbers of one turn and stream."""
        ...


@dataclass(frozen=True)
class Recipe:
    """What the inputs of every iteration follow from.

    Attributes:
        stream: the batches of the run.
        seed: of the run.
        batch_size: samples of all processes.
        part: of this process.
        critic_steps: for each of the generator's.
        codes: of the generator, if it has any.
    """

    stream: BatchStream
    seed: int
    batch_size: int
    part: slice
    critic_steps: int
    codes: Codes | None


class HostInputs:
    """The inputs of one iteration, on the CPU.

    Args:
        scalars: by name.
    """

    def __init__(self, recipe: Recipe, iteration: int, scalars: Mapping[str, Tensor]) -> None:
        self._recipe = recipe
        self._first_real = iteration * recipe.critic_steps
        self._first_draw = iteration * (recipe.critic_steps + 1)
        self._scalars = scalars
        self._numbers: dict[tuple[int, int], RandomNumbers] = {}

    def take(self, request: Request) -> Tensor:
        """The value of a request; uniform and normal numbers of one turn and stream follow each other."""
        stream, real, draw = self._recipe.stream, self._first_real + request.turn, self._first_draw + request.turn
        match request.what:
            case "rows":
                value = stream.rows(real)
            case "stored":
                value = stream.stored(stream.rows(real))
            case "mirrored":
                value = stream.mirrored(real)
            case "latents":
                value = stream.drawn_latents(draw)
            case "codes":
                value = self._codes(draw)
            case "uniform":
                value = self._chance(request).uniform(request.width)
            case "normal":
                value = self._chance(request).normal(request.width)
            case "scalar":
                value = self._scalars[request.name]
        return value

    def _codes(self, draw: int) -> Tensor:
        recipe = self._recipe
        if recipe.codes is None:
            raise ValueError("the generator is given no codes")
        return codes(recipe.seed, CODES, draw, recipe.batch_size, recipe.codes)[recipe.part]

    def numbers(self, turn: int, stream: int, device: torch.device) -> RandomNumbers:
        """The random numbers of one turn and stream, from the first."""
        recipe = self._recipe
        generator = random_stream(recipe.seed, stream, self._first_draw + turn)
        return RandomNumbers(generator, recipe.batch_size, recipe.part, device)

    def _chance(self, request: Request) -> RandomNumbers:
        key = (request.turn, request.stream)
        if key not in self._numbers:
            self._numbers[key] = self.numbers(*key, CPU)
        return self._numbers[key]


class DirectInputs:
    """Inputs that are drawn when they are asked for."""

    def __init__(self, host: HostInputs, device: torch.device) -> None:
        self._host = host
        self._device = device

    def take(self, request: Request) -> Tensor:
        """The value of a request, on the device."""
        return self._host.take(request).to(self._device)

    def numbers(self, turn: int, stream: int) -> NumberSource:
        """The random numbers of one turn and stream."""
        return self._host.numbers(turn, stream, self._device)


class RecordedInputs:
    """The same, with a list of what was asked for.

    Attributes:
        asked: the requests so far, each with an example of its value.
    """

    def __init__(self, host: HostInputs, device: torch.device) -> None:
        self.asked: list[tuple[Request, Tensor]] = []
        self._host = host
        self._device = device

    def take(self, request: Request) -> Tensor:
        """The value of a request, on the device."""
        value = self._host.take(request)
        self.asked.append((request, value))
        return value.to(self._device)

    def numbers(self, turn: int, stream: int) -> NumberSource:
        """The random numbers of one turn and stream."""
        return RequestedNumbers(self, turn, stream)


class RequestedNumbers:
    """The random numbers of one turn and stream, each a request."""

    def __init__(self, inputs: Inputs, turn: int, stream: int) -> None:
        self._inputs = inputs
        self._turn = turn
        self._stream = stream

    def uniform(self, count: int = 1) -> Tensor:
        """Uniform on [0, 1), float32 [b, K]."""
        return self._inputs.take(Request("uniform", self._turn, self._stream, count))

    def normal(self, count: int = 1) -> Tensor:
        """Standard normal, float32 [b, K]."""
        return self._inputs.take(Request("normal", self._turn, self._stream, count))
