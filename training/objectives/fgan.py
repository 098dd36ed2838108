"""f-GAN: the critic bounds an f-divergence from below, and the generator minimises the bound; eleven divergences.

    bound      F = E_p T(x) - E_q f*(T(x)),   T = g(v),   at most D_f(P || Q) = int q f(p/q), best at T* = f'(p/q)
    critic     -F
    generator  F, that is -E_q f*(T); or, non-saturating, -E_q T

v is the discriminator's logit. A row of the table holds the convex f, its slope f', its conjugate f*(t) = sup_u (u t -
f(u)), and the output activation g, an increasing map from any logit v into the domain of f*, with f*(g(v)) written so
that it neither overflows nor cancels. Sample x counts as real where T(x) > f'(1), the threshold.

Where T or f*(T) grows like exp|v|, v is tempered: beyond a limit it grows as a logarithm. That is still an increasing
map onto the same T, so every bound stays a bound and the optimum does not move. Common errors: g must increase (the
paper's first print has decreasing ones for reverse KL and Hellinger), `jensen_shannon` is *twice* JSD, and `gan` is
2 JSD - log 4 (by its logit exactly the cross-entropy of the original game).

The divergence decides what a generator that cannot draw everything leaves out: KL makes it cover all of the data,
reverse KL makes it keep to where the data is dense.

References:
    Nowozin, Cseke and Tomioka, f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization
    (2016), equation 4 (the bound), equation 5 (T*), equation 6 (the game), section 3.2 (the non-saturating generator),
    tables 1 and 2, and tables 5 and 6 of the appendix.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn.functional import logsigmoid, softplus

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, critic_terms
from training.tables import Range

# omega(y) = W(e^y) solves w + log w = y (Corless and Jeffrey, The Wright omega function, 2002); the conjugate of
# Jeffrey's divergence needs its logarithm s, which solves e^s + s = y: convex and increasing, no overflow at any y, and
# Newton's method from the right descends to the root.
WRIGHT_STEPS: Final = 6  # from the starts below double precision is reached after five, whatever y


def log_wright_omega(values: Tensor) -> Tensor:
    """Solve e^s + s = y elementwise.

    Args:
        values: y, any real numbers.

    Returns:
        s = log omega(y), differentiable as often as wanted: ds/dy = 1 / (1 + e^s).
    """
    return cast("Tensor", _LogOmega.apply(values))  # type: ignore[no-untyped-call]  # torch leaves `apply` untyped


class _LogOmega(torch.autograd.Function):
    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        # Both starts lie right of the root: e^s + s is at least y there.
        root = torch.where(values <= 1, values, values.clamp(min=1).log())
        for _ in range(WRIGHT_STEPS):
            root = root - (root.exp() + root - values) / (root.exp() + 1)
        context.save_for_backward(root)
        return root

    @staticmethod
    def backward(context: FunctionCtx, *gradients: Tensor) -> Tensor:
        (root,) = cast("Any", context).saved_tensors  # not in torch's stubs
        return gradients[0] * torch.sigmoid(-root)


Elementwise = Callable[[Tensor], Tensor]
Name = Literal[
    "total_variation",
    "kl",
    "reverse_kl",
    "pearson",
    "neyman",
    "squared_hellinger",
    "jeffrey",
    "jensen_shannon",
    "weighted_jensen_shannon",
    "gan",
    "alpha",
]

TEMPERED_FROM: Final = 10.0  # e^10: a density ratio of 22,000 is still exact, and e^(10 + log 10^4) far from overflow
LARGEST_ALPHA: Final = 0.75  # closer to 1, where the row becomes KL, a logit of 10^4 would overflow float32
LOG_2: Final = math.log(2)


@dataclass(frozen=True)
class Divergence:
    """One row.

    Attributes:
        f: convex on u > 0.
        slope: f'.
        conjugate: f* on its domain.
        activation: g, from logits into the domain.
        conjugate_of_activation: f*(g(v)).
        domain: the interval on which f* is finite; its ends may belong to it or not.
        threshold: f'(1), the value of T where p = q.
    """

    f: Elementwise
    slope: Elementwise
    conjugate: Elementwise
    activation: Elementwise
    conjugate_of_activation: Elementwise
    domain: tuple[float, float]
    threshold: float


def tempered(logits: Tensor) -> Tensor:
    """Replace logits beyond +-10 by a logarithm that has the same value and slope there.

    Returns:
        The same within the limit; increasing and smooth, 19.2 at a logit of 10,000.
    """
    size = logits.abs()
    beyond = TEMPERED_FROM + torch.log1p((size - TEMPERED_FROM).clamp(min=0))
    return torch.where(size <= TEMPERED_FROM, logits, logits.sign() * beyond)


def divergence_named(name: Name, *, pi: float = 1 / 2, alpha: float = 1 / 2) -> Divergence:
    """Look up a row.

    Args:
        pi: share of P in the mixture of the weighted Jensen-Shannon divergence, in (0, 1).
        alpha: order of the alpha-divergence, in (0, LARGEST_ALPHA]; it goes from reverse KL at 0 to KL at 1.
    """
    if name == "weighted_jensen_shannon":
        return weighted_jensen_shannon(pi)
    return alpha_divergence(alpha) if name == "alpha" else FIXED[name]


def weighted_jensen_shannon(pi: float) -> Divergence:
    """KL of P and Q from M = pi P + (1 - pi) Q, weighted by pi and 1 - pi: JSD itself at pi = 1/2."""
    top = -pi * math.log(pi)
    rest = 1 - pi

    def conjugate_of_activation(logits: Tensor) -> Tensor:
        # e^(t/pi) = sigmoid(v)^(1/pi)/pi, so that 1 - pi e^(t/pi) = 1 - e^(-softplus(-v)/pi)
        return rest * (math.log(rest) - torch.log(-torch.expm1(-softplus(-tempered(logits)) / pi)))

    return Divergence(
        f=lambda u: pi * u * u.log() - (rest + pi * u) * torch.log(rest + pi * u),
        slope=lambda u: pi * (u.log() - torch.log(rest + pi * u)),
        conjugate=lambda t: rest * (math.log(rest) - torch.log1p(-pi * torch.exp(t / pi))),
        activation=lambda v: top - softplus(-tempered(v)),
        conjugate_of_activation=conjugate_of_activation,
        domain=(-math.inf, top),
        threshold=0.0,
    )


def alpha_divergence(alpha: float) -> Divergence:
    """The alpha-divergence, below alpha = 1; twice the squared Hellinger distance at alpha = 1/2."""
    rest = 1 - alpha
    order = -alpha / rest  # the exponent alpha/(alpha - 1) of the conjugate
    return Divergence(
        f=lambda u: (u**alpha - 1 - alpha * (u - 1)) / (-alpha * rest),
        slope=lambda u: torch.expm1(-rest * u.log()) / -rest,
        conjugate=lambda t: torch.expm1(order * torch.log1p(-rest * t)) / alpha,
        activation=lambda v: 1 / rest - softplus(-tempered(v)),
        # 1 - (1 - alpha) t = (1 - alpha) softplus(-v)
        conjugate_of_activation=lambda v: torch.expm1(order * torch.log(rest * softplus(-tempered(v)))) / alpha,
        domain=(-math.inf, 1 / rest),
        threshold=0.0,
    )


def _jeffrey_conjugate(t: Tensor) -> Tensor:
    # W(e^(1-t)) = omega(1 - t) = w, without the overflow of e^(1-t); and w + log w = 1 - t turns w + 1/w + t - 2 into
    # 1/w - log w - 1, without the cancellation of w and t.
    log_w = log_wright_omega(1 - t)
    return torch.expm1(-log_w) - log_w


FIXED: Final[dict[str, Divergence]] = {
    "total_variation": Divergence(
        f=lambda u: (u - 1).abs() / 2,
        slope=lambda u: (u - 1).sign() / 2,
        conjugate=lambda t: t,
        activation=lambda v: v.tanh() / 2,
        conjugate_of_activation=lambda v: v.tanh() / 2,
        domain=(-1 / 2, 1 / 2),
        threshold=0.0,
    ),
    "kl": Divergence(
        f=lambda u: u * u.log(),
        slope=lambda u: 1 + u.log(),
        conjugate=lambda t: torch.exp(t - 1),
        activation=tempered,
        conjugate_of_activation=lambda v: torch.exp(tempered(v) - 1),
        domain=(-math.inf, math.inf),
        threshold=1.0,
    ),
    "reverse_kl": Divergence(
        f=lambda u: -u.log(),
        slope=lambda u: -1 / u,
        conjugate=lambda t: -1 - torch.log(-t),
        activation=lambda v: -torch.exp(-tempered(v)),
        conjugate_of_activation=lambda v: tempered(v) - 1,
        domain=(-math.inf, 0.0),
        threshold=-1.0,
    ),
    "pearson": Divergence(
        f=lambda u: (u - 1) ** 2,
        slope=lambda u: 2 * (u - 1),
        conjugate=lambda t: t**2 / 4 + t,
        activation=lambda v: v,
        conjugate_of_activation=lambda v: v**2 / 4 + v,
        domain=(-math.inf, math.inf),
        threshold=0.0,
    ),
    "neyman": Divergence(
        f=lambda u: (1 - u) ** 2 / u,
        slope=lambda u: 1 - u**-2,
        conjugate=lambda t: 2 - 2 * torch.sqrt(1 - t),
        activation=lambda v: -torch.expm1(-tempered(v)),
        conjugate_of_activation=lambda v: -2 * torch.expm1(-tempered(v) / 2),
        domain=(-math.inf, 1.0),
        threshold=0.0,
    ),
    "squared_hellinger": Divergence(
        f=lambda u: (u.sqrt() - 1) ** 2,
        slope=lambda u: 1 - u.rsqrt(),
        conjugate=lambda t: t / (1 - t),
        activation=lambda v: -torch.expm1(-tempered(v)),
        conjugate_of_activation=lambda v: torch.expm1(tempered(v)),
        domain=(-math.inf, 1.0),
        threshold=0.0,
    ),
    "jeffrey": Divergence(
        f=lambda u: (u - 1) * u.log(),
        slope=lambda u: 1 + u.log() - 1 / u,
        conjugate=_jeffrey_conjugate,
        activation=tempered,
        conjugate_of_activation=lambda v: _jeffrey_conjugate(tempered(v)),
        domain=(-math.inf, math.inf),
        threshold=0.0,
    ),
    "jensen_shannon": Divergence(
        f=lambda u: u * u.log() - (u + 1) * torch.log((1 + u) / 2),
        slope=lambda u: LOG_2 + u.log() - torch.log1p(u),
        conjugate=lambda t: -torch.log(2 - t.exp()),
        activation=lambda v: LOG_2 + logsigmoid(v),
        conjugate_of_activation=lambda v: softplus(v) - LOG_2,
        domain=(-math.inf, LOG_2),
        threshold=0.0,
    ),
    "gan": Divergence(
        f=lambda u: u * u.log() - (u + 1) * torch.log1p(u),
        slope=lambda u: u.log() - torch.log1p(u),
        conjugate=lambda t: -torch.log(-torch.expm1(t)),
        activation=logsigmoid,
        conjugate_of_activation=softplus,
        domain=(-math.inf, 0.0),
        threshold=-LOG_2,
    ),
}


@dataclass(frozen=True, kw_only=True)
class FGan(GradientPenalties):
    """The game over an f-divergence.

    Attributes:
        divergence: which.
        generator: `saddle` descends the bound itself; `non_saturating` maximises E_q T, which has a slope where the
            bound's has vanished, and the same fixed point if the generator can draw the data's law.
        pi: share of the data in the mixture of `weighted_jensen_shannon`; the others have none.
        alpha: order of `alpha`; the others have none.
    """

    kind: ClassVar[str] = "fgan"
    loss_family: ClassVar[str] = "f_divergence"

    divergence: Name = "kl"
    generator: Literal["saddle", "non_saturating"] = "saddle"
    pi: Annotated[float, Range(above=0, below=1)] = 1 / 2
    alpha: Annotated[float, Range(above=0, at_most=LARGEST_ALPHA)] = 1 / 2

    @property
    def row(self) -> Divergence:
        """The divergence's functions."""
        return divergence_named(self.divergence, pi=self.pi, alpha=self.alpha)

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E_q f*(T) - E_p T plus the penalties; the part `adversarial` is the negative of the bound.

        Returns:
            The loss; f*(g(0)) - g(0) where every logit is 0.
        """
        row, judgement = self.row, self.judge(nets, batch)
        on_real = row.activation(judgement.real_logits)
        bound = on_real.mean() - row.conjugate_of_activation(judgement.fake_logits).mean()
        return critic_terms(-bound, judgement, overfitting=on_real - row.threshold)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """-E_q f*(T) or -E_q T.

        Args:
            batch: latents [B, Z]; the real samples are not used.
        """
        logits = nets.judge(nets.generate(batch), batch)
        reward = self.row.conjugate_of_activation if self.generator == "saddle" else self.row.activation
        total = -reward(logits).mean()
        return LossTerms(total, {"adversarial": total.detach(), "logit_fake": logits.detach().mean()})
