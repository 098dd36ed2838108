"""The shape of a toy package: samples, inputs, graphs, and the tensors that follow.

Shapes: B batch, Z latent coordinates, K elements of the code tensor, P samples scored together, C channels, H height,
W width, D numbers of a vector.
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

from service.engine.model_spec import Capabilities, CodeSpec, Prior, TensorSpec

Kind = Literal["image", "vector", "item"]
Bounds = tuple[float, float]

# Of an unconditional package of small grey images.
PLAIN = Capabilities(
    latent_size=3,
    prior="standard_normal",
    label_count=None,
    codes=None,
    condition_count=None,
    item_count=None,
    sample_shape=(1, 4, 5),
    pixels_shape=(4, 5, 1),
    discriminator_conditioning=frozenset(),
    encoder_conditioning=frozenset(),
    largest_group=None,
)


class ToyOptions(TypedDict, total=False):
    """Options of a toy; `Toy` has the defaults."""

    kind: Kind
    conditional: bool
    discriminator: bool
    encoder: bool
    height: int
    width: int
    channels: Literal[1, 3]
    vector_size: int
    item_count: int
    latent_size: int
    prior: Prior
    sample_range: Bounds
    label_count: int
    categorical: tuple[int, ...]
    continuous: tuple[Bounds, ...]
    condition_count: int
    pack: int
    batch_coupled: bool
    unknown_label: bool
    golden_count: int
    reference_count: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """One toy package's shape.

    Attributes:
        kind: of a sample.
        conditional: whether generator and discriminator take a `label`.
        discriminator: whether there is one.
        encoder: whether there is one; it outputs codes where there are some, else the latent.
        height: H of an image.
        width: W of an image.
        channels: C of an image.
        vector_size: D of a vector.
        item_count: number of items, and then also Z.
        latent_size: Z of images and vectors.
        prior: distribution of the latent.
        sample_range: (lo, hi) of an image's values.
        label_count: classes, where conditional.
        categorical: number of values of each categorical code.
        continuous: (low, high) of each continuous code.
        condition_count: number of ids of the input `user`; 0 for none.
        pack: P, samples of one logit, side by side in the channels.
        batch_coupled: whether the discriminator subtracts the batch's mean.
        unknown_label: whether the manifest says how samples without a label are scored, where conditional.
        golden_count: golden vectors of each graph.
        reference_count: vectors of the reference sample; 0 for none.
        seed: of the weights and of the golden inputs.
    """

    kind: Kind = "image"
    conditional: bool = False
    discriminator: bool = True
    encoder: bool = False
    height: int = 8
    width: int = 8
    channels: Literal[1, 3] = 1
    vector_size: int = 2
    item_count: int = 12
    latent_size: int = 16
    prior: Prior = "standard_normal"
    sample_range: Bounds = (-1.0, 1.0)
    label_count: int = 10
    categorical: tuple[int, ...] = ()
    continuous: tuple[Bounds, ...] = ()
    condition_count: int = 0
    pack: int = 1
    batch_coupled: bool = False
    unknown_label: bool = False
    golden_count: int = 4
    reference_count: int = 0
    seed: int = 0

    @property
    def noise_size(self) -> int:
        """Z."""
        return self.item_count if self.kind == "item" else self.latent_size

    @property
    def codes(self) -> CodeSpec | None:
        return CodeSpec(self.categorical, self.continuous) if self.categorical or self.continuous else None

    @property
    def beside(self) -> tuple[TensorSpec, ...]:
        """Conditioning inputs of generator and discriminator."""
        label = (TensorSpec("label", "INT64", (-1,), "label"),) if self.conditional else ()
        user = (TensorSpec("user", "INT64", (-1,), "condition"),) if self.condition_count else ()
        return label + user

    @property
    def code_tensors(self) -> tuple[TensorSpec, ...]:
        return () if self.codes is None else (TensorSpec("code", "FP32", (-1, self.codes.width), "code"),)

    @property
    def latent_tensor(self) -> TensorSpec:
        return TensorSpec("latent", "FP32", (-1, self.noise_size), "latent")

    def sample_tensor(self, pack: int = 1) -> TensorSpec:
        """The sample, or `pack` of them side by side."""
        match self.kind:
            case "image":
                return TensorSpec("sample", "FP32", (-1, self.channels * pack, self.height, self.width), "sample")
            case "vector":
                return TensorSpec("sample", "FP32", (-1, self.vector_size * pack), "sample")
            case "item":
                return TensorSpec("sample", "INT64", (-1,) if pack == 1 else (-1, pack), "sample")

    @property
    def generator_inputs(self) -> tuple[TensorSpec, ...]:
        return (self.latent_tensor, *self.beside, *self.code_tensors)

    @property
    def generator_outputs(self) -> tuple[TensorSpec, ...]:
        pixels = TensorSpec("pixels", "UINT8", (-1, self.height, self.width, self.channels), "pixels")
        return (self.sample_tensor(), pixels) if self.kind == "image" else (self.sample_tensor(),)

    @property
    def discriminator_inputs(self) -> tuple[TensorSpec, ...]:
        return (self.sample_tensor(self.pack), *self.beside)

    @property
    def discriminator_outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("logit", "FP32", (-1,), "logit"),)

    @property
    def encoder_inputs(self) -> tuple[TensorSpec, ...]:
        return (self.sample_tensor(),)

    @property
    def encoder_outputs(self) -> tuple[TensorSpec, ...]:
        return self.code_tensors or (self.latent_tensor,)
