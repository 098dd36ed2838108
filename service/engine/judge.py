"""How a package's discriminator is asked: pixels back to samples, packs, and who may share a batch.

- A packing discriminator (PacGAN) judges `pack` samples together, side by side in the channels. A sample is repeated
  `pack` times, so that its score is a function of it alone.
- A batch-coupled one (minibatch statistics) never shares a batch with another request and is never padded. `together`
  judges a group as one batch, the way it was trained; `each` judges samples one by one, so that a score follows from
  its sample and equals the score of that sample's PNG.

Pixels are dequantised on the model thread, a batch at a time, so that no job holds more floats than one batch needs.

Shapes: N samples, P samples judged together, C channels, H height, W width.

References:
    Lin, Khetan, Fanti and Oh, PacGAN: the power of two samples in generative adversarial networks (2018), section 3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import Role
from service.engine.pixels import dequantise
from service.engine.running import RunningGraph
from service.engine.session import Array

Labels = NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class Judge:
    """A running discriminator.

    Attributes:
        graph: it.
        batch_coupled: as in `GraphSpec`.
        pack: P, likewise.
        sample_range: (lo, hi) of an image sample's values.
    """

    graph: RunningGraph
    batch_coupled: bool
    pack: int
    sample_range: tuple[float, float]

    async def together(self, judged: Array, labels: Labels, deadline: float | None) -> NDArray[np.float32]:
        """Judge samples that belong together.

        Args:
            judged: pixels [N, H, W, C] uint8, or samples [N, C, H, W] in float.
            labels: [N], where it takes labels.
            deadline: on `time.monotonic`; None never.

        Returns:
            Logits [N].

        Raises:
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """

        def inputs(start: int, stop: int) -> dict[Role, Array]:
            by_role: dict[Role, Array] = {"sample": self._packed(judged[start:stop])}
            return by_role if labels is None else {**by_role, "label": labels[start:stop]}

        outputs = await self.graph.ask(inputs, len(judged), {"logit"}, deadline)
        return outputs["logit"].astype(np.float32, copy=False)

    async def each(self, judged: Array, labels: Labels, deadline: float | None) -> NDArray[np.float32]:
        """Judge every sample for itself; as `together` otherwise."""
        if not self.batch_coupled:
            return await self.together(judged, labels, deadline)
        alone = [
            await self.together(judged[i : i + 1], None if labels is None else labels[i : i + 1], deadline)
            for i in range(len(judged))
        ]
        return np.concatenate(alone)

    def _packed(self, judged: Array) -> Array:
        sample = judged
        if judged.dtype == np.uint8:
            sample = dequantise(judged.astype(np.uint8, copy=False), self.sample_range)
        return sample if self.pack == 1 else np.concatenate([sample] * self.pack, axis=1)
