"""The ways in which a generator or a game fails, and how each shows in a run's record.

One function a symptom: it yields a finding, with the keys of the configuration that may help, or nothing. Thresholds
are coarse on purpose, and each says why it is where it is.

References:
    Goodfellow et al. (2014), section 3 (saturation). Lin et al., PacGAN (2018) (packing against missing modes).
    Mescheder, Geiger and Nowozin (2018) (gradient penalties against circling). Karras et al., Training Generative
    Adversarial Networks with Limited Data (2020) (augmentation against learning by heart). Sun, Fang and Schwing
    (2020) (pairing against bad minima).
"""

from collections.abc import Iterator
from typing import Final

from training.diagnostics.divergence import LOG_ODDS
from training.diagnostics.finding import Finding, Record

VANISHED: Final = 0.01  # of the non-saturating gradient: the minimax loss would need a hundred times as many steps
NO_EFFORT: Final = 0.99  # of pairs told apart: hardly a generated sample is taken for real
MISSED: Final = 0.9  # of the modes that as many real samples show
RESTLESS: Final = 0.25  # of the mean distance of two real samples: a latent's sample changes like its neighbours differ
COPIED: Final = 0.25  # of the samples nearer to the training set than 99 of 100 new ones


def collapse(record: Record) -> Iterator[Finding]:
    """Whether the collapse alarm is on."""
    alarms = [event for event in record.events if event.event in ("collapse", "recovery")]
    if alarms and alarms[-1].event == "collapse":
        yield Finding(
            "collapse",
            f"At sample {alarms[-1].samples:,} {alarms[-1].text}. Different latents lead to the same few samples.",
            (
                '[objective] kind = "relativistic" with gamma_r1 and gamma_r2 of 0.5: it has no such minima',
                "[discriminator] pack = 2: a critic that sees two samples at once notices that they are alike",
                "[trainer] learning_rate_generator: half",
                "[trainer] batch_size: twice as large",
            ),
            "variety",
        )


def critic(record: Record) -> Iterator[Finding]:
    """Whether the critic has won, and whether the generator still hears it."""
    minimax, other = record.last("gradient_minimax"), record.last("gradient_non_saturating")
    told_apart = record.last("paired_accuracy")
    if minimax is not None and other is not None and minimax < VANISHED * other:
        share = record.last("sure_share") or 0.0
        seen = (
            f"The critic is sure of {share:.0%} of its answers. The gradient of log(1 - D) has the norm {minimax:.1e}, "
            f"that of -log D {other:.1e}"
        )
        if record.config.objective.kind == "minimax":
            yield Finding(
                "saturation",
                f"{seen}: the game is saturated, and the generator learns next to nothing.",
                (
                    '[objective] kind = "non_saturating": the same game with a loss that keeps its gradient',
                    "[objective] real_target = 0.9: the critic stops growing confident",
                    "[discriminator] spectral_norm = true, or [objective] gamma_r1 above 0",
                    "[trainer] learning_rate_discriminator: a fifth; critic_steps = 1",
                ),
                "gradients",
            )
            return
        yield _outplayed(record, f"{seen}, so the minimax loss would have saturated; this run's loss has not.")
    elif told_apart is not None and told_apart > NO_EFFORT and record.config.objective.loss_family != "wasserstein":
        yield _outplayed(
            record, f"Of a real and a generated sample the critic tells which is which in {told_apart:.1%}."
        )


def _outplayed(record: Record, seen: str) -> Finding:
    return Finding(
        "outplayed",
        f"{seen} The critic wins without effort: its bound on the divergence is near its ceiling, and what it still "
        "teaches is not what is wrong but that everything is.",
        (
            "[objective] gamma_r1 (and gamma_r2): ten times as high, which keeps the critic smooth",
            "[trainer] learning_rate_discriminator: half; critic_steps = 1",
            "[generator] wider, or [trainer] total_samples longer: it may simply not be there yet",
        ),
        "divergence" if record.config.objective.loss_family in LOG_ODDS else "accuracy",
    )


def missing(record: Record) -> Iterator[Finding]:
    """Whether some modes are never drawn."""
    drawn, real = record.last("modes"), record.last("modes_of_real")
    if drawn is not None and real is not None and drawn < MISSED * real:
        yield Finding(
            "missing",
            f"{drawn:.3g} modes are drawn on average, where as many real samples show {real:.0f}.",
            (
                "[discriminator] pack = 2, 3 or 4",
                '[objective] kind = "relativistic" with gamma_r1 and gamma_r2',
                "[trainer] total_samples: longer, if the number still grows",
            ),
            "modes",
        )


def oscillation(record: Record) -> Iterator[Finding]:
    """Whether the generator is far from its own average."""
    unrest = record.last("unrest")
    if unrest is not None and unrest > RESTLESS:
        yield Finding(
            "oscillation",
            f"For the same latent the generator is {unrest:.0%} of the distance of two real samples away from its own "
            "moving average: it circles the equilibrium instead of approaching it.",
            (
                "[trainer] learning_rate_final_fraction = 0.1: the steps shrink towards the end",
                "[trainer] beta1 = 0.0: momentum drives the circling",
                "[objective] gamma_r1 and gamma_r2: higher, which damps it",
                "[trainer] both learning rates: half",
            ),
            "unrest",
        )


def memorised(record: Record) -> Iterator[Finding]:
    """Whether samples are copies of training samples."""
    found = record.memorisation
    if found is not None and found.copies > COPIED:
        yield Finding(
            "memorised",
            f"{found.copies:.0%} of the generated samples are nearer to a training sample than 99 of 100 new ones: the "
            f"median distance is {found.generated:.3g}, that of held-out samples {found.held_out:.3g}. The generator "
            "repeats its training set.",
            (
                "more data; [trainer] horizontal_flips = true where a mirrored sample is as good",
                '[augmentation] kind = "ada": the critic is kept from learning the set by heart',
                "[generator] narrower, [trainer] total_samples shorter",
            ),
        )
