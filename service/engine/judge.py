"""How a package's discriminator is asked: packs, and who may share a batch.

- A packing discriminator (PacGAN) judges P samples together, side by side in the channels. A sample is repeated P
  times (`service/engine/given.py` writes it so), so that its score is a function of it alone.
- A batch-coupled one (minibatch statistics) never shares a batch with another request and is never padded. `together`
  judges a group as one batch, the way it was trained; `each` judges samples one by one, so that a score follows from
  its sample and equals the score of that sample's PNG.

Shapes: N samples, K classes, P samples judged together, C channels, H height, W width.

References:
    Lin, Khetan, Fanti and Oh, PacGAN: the power of two samples in generative adversarial networks (2018), section 3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.density_ratio import DensityRatio
from service.engine.given import Given, UnderEveryClass
from service.engine.running import RunningGraph


@dataclass(frozen=True, slots=True)
class Judge:
    """A running discriminator.

    Attributes:
        graph: it.
        batch_coupled: as in `GraphSpec`.
        density_ratio: likewise.
    """

    graph: RunningGraph
    batch_coupled: bool
    density_ratio: DensityRatio | None

    async def together(self, given: Given | UnderEveryClass, deadline: float | None) -> NDArray[np.float32]:
        """Judge samples that belong together.

        Args:
            given: N samples; labels and conditions that the discriminator does not take are left alone.
            deadline: on `time.monotonic`; None never.

        Returns:
            Logits [N].

        Raises:
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        outputs = await self.graph.ask(given.write, len(given), {"logit"}, deadline, ordinary=given.is_ordinary)
        return outputs["logit"].astype(np.float32, copy=False)

    async def under_every_class(self, given: Given, classes: int, deadline: float | None) -> NDArray[np.float32]:
        """Judge samples under each class in turn, as each class named for all of them would have them judged.

        Args:
            given: N samples, without labels.
            classes: K.
            deadline: as in `together`.

        Returns:
            Logits [N, K].

        Raises:
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        if not self.batch_coupled:
            logits = await self.together(UnderEveryClass(given, classes), deadline)
            return logits.reshape(len(given), classes)
        groups = [given.labelled(label) for label in range(classes)]  # a group of one class is never another's mate
        return np.stack([await self.together(group, deadline) for group in groups], axis=1)

    async def each(self, given: Given, deadline: float | None) -> NDArray[np.float32]:
        """Judge every sample for itself; as `together` otherwise."""
        if not self.batch_coupled:
            return await self.together(given, deadline)
        alone = [await self.together(given.part(slice(i, i + 1)), deadline) for i in range(len(given))]
        return np.concatenate(alone)
