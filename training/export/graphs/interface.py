"""Inputs and outputs of a package's graphs: names, types and shapes.

Examples for the exporter, random inputs and the manifest's tensors are derived from it, so that they agree. A tensor's
name is its role in the package's format.

Shapes: -1 batch, Z latent, D numbers of a vector, C H W channels, height and width of an image.
"""

from dataclasses import dataclass
from typing import Final, Literal

import torch

from training.codes import Codes
from training.config import Config
from training.data import Data, InteractionData
from training.data.pixels import HIGH, LOW
from training.networks.base import Prior

LATENT, LABEL, CODE, SAMPLE, PIXELS, LOGIT = "latent", "label", "code", "sample", "pixels", "logit"
CONDITION: Final = "condition"
CONDITION_NAME: Final = "user"  # a condition's id is a user's
TYPES: Final = {"FP32": torch.float32, "INT64": torch.int64, "UINT8": torch.uint8}
DataType = Literal["FP32", "INT64", "UINT8"]
IMAGE_AXES: Final = 3  # channels, height and width; a vector has one


@dataclass(frozen=True)
class TensorSpec:
    """An input or output tensor of a graph."""

    name: str
    datatype: DataType
    shape: tuple[int, ...] = ()

    def example(self, rows: int) -> torch.Tensor:
        """Zeros [rows, ...] of its type."""
        return torch.zeros(rows, *self.shape, dtype=TYPES[self.datatype])

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.shape], "role": self.name}


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The tensors of a package.

    Attributes:
        sample_shape: C, H, W of an image, D of a vector, nothing of an item.
        items: how many items there are, where a sample is one's number; 0 elsewhere.
        latent_size: Z.
        labels: names of the classes, inputs of both graphs; empty for an unconditional package.
        conditions: number of ids, inputs of both graphs; 0 for none.
        codes: inputs of the generator, read back by an encoder's graph; None for none.
        encodes_latents: whether an encoder's graph finds latents.
        value_range: of images' values.
        judged_by_label: whether the discriminator takes what the generator is told.
    """

    sample_shape: tuple[int, ...]
    latent_size: int
    items: int = 0
    prior: Prior = "standard_normal"
    labels: tuple[str, ...] = ()
    conditions: int = 0
    codes: Codes | None = None
    encodes_latents: bool = False
    value_range: tuple[float, float] = (LOW, HIGH)
    judged_by_label: bool = True

    @property
    def kind(self) -> Literal["image", "vector", "item"]:
        """Kind of a sample."""
        if self.items:
            return "item"
        return "image" if len(self.sample_shape) == IMAGE_AXES else "vector"

    def sample_entry(self) -> dict[str, object]:
        """The manifest's entry of the sample."""
        if self.kind == "item":
            return {"kind": "item", "count": self.items}
        if self.kind == "vector":
            return {"kind": "vector", "size": self.sample_shape[0]}
        channels, height, width = self.sample_shape
        return {
            "kind": "image",
            "layout": "NCHW",
            "channels": channels,
            "height": height,
            "width": width,
            "range": list(self.value_range),
        }

    @property
    def generator_inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network's arguments."""
        return (self._latent, *self._told, *self._code)

    @property
    def generator_outputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the package's format."""
        if self.kind != "image":
            return (self._sample,)
        channels, height, width = self.sample_shape
        return (self._sample, TensorSpec(PIXELS, "UINT8", (height, width, channels)))

    @property
    def discriminator_inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network's arguments."""
        return (self._sample, *(self._told if self.judged_by_label else ()))

    @property
    def discriminator_outputs(self) -> tuple[TensorSpec, ...]:
        """One logit a sample."""
        return (TensorSpec(LOGIT, "FP32"),)

    @property
    def encoder_inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network's arguments."""
        return (self._sample,)

    @property
    def encoder_outputs(self) -> tuple[TensorSpec, ...]:
        """Latent or codes; empty where there is no such graph."""
        return (self._latent,) if self.encodes_latents else self._code

    @property
    def _latent(self) -> TensorSpec:
        return TensorSpec(LATENT, "FP32", (self.latent_size,))

    @property
    def _code(self) -> tuple[TensorSpec, ...]:
        return () if self.codes is None else (TensorSpec(CODE, "FP32", (self.codes.size,)),)

    @property
    def _sample(self) -> TensorSpec:
        return TensorSpec(SAMPLE, "INT64" if self.kind == "item" else "FP32", self.sample_shape)

    @property
    def _told(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec(self.told, "INT64"),) if self.told else ()

    @property
    def told(self) -> str:
        """Name of the tensor with a sample's class or id; empty for an unconditional package."""
        return CONDITION if self.conditions else LABEL if self.labels else ""

    @property
    def condition_count(self) -> int:
        """Number of classes or ids."""
        return self.conditions or len(self.labels)


def interface(config: Config, data: Data) -> Interface:
    """Derive the tensors of a run's package."""
    generator = config.generator
    if isinstance(data, InteractionData):
        return Interface(
            sample_shape=data.sample_shape,
            items=data.items,
            latent_size=generator.latent_size,
            prior=generator.prior,
            conditions=data.users,
        )
    return Interface(
        sample_shape=data.sample_shape,
        latent_size=generator.latent_size,
        prior=generator.prior,
        labels=(data.label_names or ()) if generator.conditional else (),
        codes=config.codes,
        encodes_latents=config.encoder is not None,
    )
