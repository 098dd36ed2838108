"""The last layer of every discriminator: features, and their projection on a class, to a logit.

    logit = last(seen) + <class, seen>

Shapes: B batch, m samples that one logit judges together, F features.

References:
    Miyato and Koyama, cGANs with Projection Discriminator (2018), equation 3.
"""

from torch import Tensor, nn


class Projecting(nn.Module):
    """Base of discriminators: what follows the features.

    Attributes:
        last: features [B / m, F] to one number.
        classes: a direction [F] for each class; None where there are none.
    """

    last: nn.Linear
    classes: nn.Embedding | None

    def verdict(self, seen: Tensor) -> Tensor:
        """Compute logits without classes.

        Args:
            seen: [B / m, F].

        Returns:
            Logits [B / m].
        """
        logits: Tensor = self.last(seen).squeeze(1)
        return logits

    def verdict_for(self, seen: Tensor, labels: Tensor | None) -> Tensor:
        """Compute logits for classes.

        Args:
            seen: [B / m, F].
            labels: [B / m]; not used where there are no classes.

        Returns:
            Logits [B / m].
        """
        logits = self.verdict(seen)
        return logits if self.classes is None else logits + (self.classes(labels) * seen).sum(1)
