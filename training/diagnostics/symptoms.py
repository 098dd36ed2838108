"""Symptoms of failing generators and games in a run's record.

One function a symptom: it yields a finding with advice for the configuration of this run, or nothing. Thresholds are
deliberately coarse; `tests/training/diagnostics/known_runs.py` has runs of known cause on both sides of each.

References:
    Goodfellow et al. (2014), section 3 (saturation). Lin et al., PacGAN (2018) (packing against missing modes).
    Mescheder, Geiger and Nowozin (2018) (gradient penalties against circling). Karras et al., Training Generative
    Adversarial Networks with Limited Data (2020) (critics that memorise the training set). Lopez-Paz and Oquab (2017)
    (two-sample tests).
"""

from collections.abc import Iterator
from statistics import fmean
from typing import Final

from training.data.mixtures import MixtureConfig
from training.diagnostics.advice import Name, advice_for
from training.diagnostics.alarm import LEAST_IN_MODES, readings_of, signs
from training.diagnostics.findings import LAST_PART, Finding, RunRecord
from training.diagnostics.measures.divergence import LOG_ODDS

VARIETY: Final = ("diversity", "support", "support_high", "probe_samples")
VANISHED: Final = 0.01  # of the non-saturating gradient: the minimax loss would need a hundred times as many steps
NO_EFFORT: Final = 0.99  # of pairs told apart: almost no generated sample is taken for real
MISSED: Final = 0.9  # of the modes that as many real samples show
ENOUGH_A_MODE: Final = 5  # samples in modes for each mode of the data: then an even generator misses 0.7 % of them
RESTLESS: Final = 0.25  # of the mean distance of two real samples
COPIED: Final = 0.25  # of the samples: nearer to the training set than 99 of 100 new ones
TOLD_APART: Final = 0.95  # of pairs, by a fresh classifier
NOTICED: Final = 0.9  # of pairs, by any classifier: samples of which so many are known are not called like the data
NEAR: Final = 0.5  # of the samples as near to the data as real ones are
BLIND: Final = 0.75  # of pairs that the critic tells apart, where a small classifier reaches 0.95
FLAT: Final = 0.05  # standard deviation of logits
FLAT_CLIPPED: Final = 1e-4  # of a Wasserstein critic, whose unit is free: Adam's and RMSprop's epsilon is 1e-8
BY_HEART: Final = 0.75  # of pairs in which the critic prefers the training sample to the new one
STILL: Final = 0.01  # of the mean distance of two real samples that the generator has moved since its first step
RUNAWAY: Final = 1_000.0  # of logits: sigmoids saturate at 20, and a critic of slope 1 spans the distances of the data
SCATTERED: Final = 3.0  # times the data's own distances between samples: they lie far outside of it
OF_A_FEW: Final = 0.25  # of the modes that real samples show: a generator that draws more of them misses some
CRITIC_STEPS: Final = 200  # fewer are too few to call a critic weak
FEW_STEPS: Final = 1_000  # of the generator
STILL_NEARING: Final = 0.95  # of the distance to the data a third of the run before


def diverged(record: RunRecord) -> Iterator[Finding]:
    """Whether values grew without bound."""
    ends = [event for event in record.events if event.event in ("rollback", "divergence")]
    if ends:
        rollbacks = sum(event.event == "rollback" for event in ends)
        times = {0: "", 1: " once, and the run went back"}.get(rollbacks, f" {rollbacks} times, and the run went back")
        yield _found(record, "diverged", f"Numbers overflowed{times}: {ends[-1].text}.", "losses")
        return
    spread, scattered = _spread(record), record.last("diversity")
    if spread is not None and spread > RUNAWAY:
        seen = f"The critic's logits differ by {spread:.1e}: nothing bounds them, and its losses are meaningless."
        yield _found(record, "diverged", seen, "losses")
    elif scattered is not None and scattered > SCATTERED and not _is_flat(record):
        seen = f"Generated samples are {scattered:.0f} times as far from each other as real ones are: they diverge."
        yield _found(record, "diverged", seen, "variety")


def stalled(record: RunRecord) -> Iterator[Finding]:
    """Whether the generator does not learn, independent of its critic."""
    found, gradients = record.inspection, record.readings("gradient")
    if found is not None and found.silent_layers:
        layers = "A layer" if found.silent_layers == 1 else f"{found.silent_layers} layers"
        seen = f"{layers} of the generator is inactive: no unit is above 0 for any latent, so no gradient passes."
    elif len(gradients) > 1 and not any(gradients[-_last(len(gradients)) :]):
        seen = "The generator's gradient is 0: its output is saturated, so no weight has an effect."
    elif found is not None and found.moved is not None and found.moved < STILL:
        seen = (
            f"After {record.samples_seen:,} samples the generator draws almost the same as before its first step: its "
            f"samples have moved by {found.moved:.2%} of the distance of two real ones."
        )
    else:
        return
    yield _found(record, "stalled", seen, "gradients")


def weak(record: RunRecord) -> Iterator[Finding]:
    """Whether the critic misses what a small classifier detects, or its logits are too small."""
    found = record.inspection
    if found is None or found.critic is None or found.two_sample.auc < TOLD_APART:
        return
    critic, flat = found.critic, _is_flat(record)
    lately = record.last("paired_accuracy")
    blind = critic.told_apart < BLIND and (lately is None or lately < BLIND)  # not only at the last measurement
    if not (flat or blind) or record.steps * record.config.trainer.critic_steps < CRITIC_STEPS:
        return
    seen = (
        f"A small classifier tells {_percent(found.two_sample.auc)} of pairs of a real and a generated sample apart, "
    )
    if flat:
        seen += f"but the critic's logits for them differ by {critic.spread:.1g} only"
    else:
        seen += f"the critic {_percent(critic.told_apart)}"
    if flat and _is_held(record):
        words = f"{seen}: its penalties, or its clip, keep it so flat that the generator has no gradient to follow."
        yield _found(record, "constrained", words, _critic_chart(record))
    else:
        words = f"{seen}: it is too weak to show the generator what is wrong."
        yield _found(record, "weak", words, _critic_chart(record))


def collapse(record: RunRecord) -> Iterator[Finding]:
    """Whether the collapse alarm is on for more than missing modes."""
    alarms = [event for event in record.events if event.event in ("collapse", "recovery")]
    if alarms and alarms[-1].event == "collapse" and not _only_misses_modes(record):
        seen = f"At sample {alarms[-1].samples:,} {alarms[-1].text}. "
        measured = [found for row in record.rows if (found := readings_of(row))]
        lately = "; ".join(signs(measured[-1])) if measured else ""
        if lately and lately not in seen:
            seen += f"At the last measurement, {lately}. "
        yield _found(record, "collapse", f"{seen}Different latents lead to the same few samples.", "variety")


def saturation(record: RunRecord) -> Iterator[Finding]:
    """Whether the critic is so sure that the minimax loss has no gradient left."""
    seen = _sure(record)
    if seen is not None and record.config.objective.kind == "minimax":
        words = f"{seen}: the game is saturated, and the generator learns almost nothing."
        yield _found(record, "saturation", words, "gradients")


def outplayed(record: RunRecord) -> Iterator[Finding]:
    """Whether the critic has won."""
    seen, told_apart = _sure(record), record.last("paired_accuracy")
    if seen is not None and record.config.objective.kind == "minimax":
        return  # which is saturation
    if seen is not None:
        seen += ", so the minimax loss would have saturated; this run's loss has not."
    elif told_apart is not None and told_apart > NO_EFFORT and record.config.objective.loss_family != "wasserstein":
        seen = f"Of a real and a generated sample the critic tells which is which in {told_apart:.1%}."
    else:
        return
    words = (
        f"{seen} The critic wins: its bound on the divergence is near its maximum, and its gradient no longer shows "
        "what is wrong with a sample."
    )
    yield _found(record, "outplayed", words, _critic_chart(record))


def overfitting(record: RunRecord) -> Iterator[Finding]:
    """Whether the critic has memorised its training set."""
    critic = None if record.inspection is None else record.inspection.critic
    if critic is not None and critic.known > BY_HEART:
        seen = (
            f"The critic prefers a training sample to a new one in {critic.known:.0%} of pairs (50% is a coin), and a "
            f"new one to a generated one in {critic.told_apart:.0%}: it has memorised its training set, and its "
            "gradient is about these samples, not about their distribution."
        )
        yield _found(record, "overfitting", seen, "accuracy")


def young(record: RunRecord) -> Iterator[Finding]:
    """Whether samples are unlike the data because the run is too short."""
    if record.inspection is None:
        unlike = (record.last("paired_accuracy") or 0.0) > NO_EFFORT
    else:
        unlike = record.inspection.two_sample.auc >= TOLD_APART
    distances = record.readings("real_distance")
    part = _last(len(distances))
    nearing = len(distances) >= LAST_PART and (
        fmean(distances[-part:]) < STILL_NEARING * fmean(distances[-2 * part : -part])
    )
    nearing = nearing and (record.last("unrest") or 0.0) <= RESTLESS  # one that oscillates is near only at times
    if not unlike or not (nearing or record.steps < FEW_STEPS):
        return
    seen = f"The generator has taken {record.steps:,} steps and seen {record.samples_seen:,} samples"
    if record.steps < FEW_STEPS:
        seen += f", which is few: most games need more than {FEW_STEPS:,} steps"
    if nearing:
        seen += "; its samples are still getting nearer to the data"
    yield _found(record, "young", f"{seen}. Other findings may be temporary.", "nearness")


def missing(record: RunRecord) -> Iterator[Finding]:
    """Whether some modes are never drawn, by a generator that draws samples of modes at all."""
    drawn, real = record.last("modes"), record.last("modes_of_real")
    if drawn is not None and real is not None and counts_modes(record) and drawn < MISSED * real:
        seen = f"{drawn:.3g} modes are drawn on average, where as many real samples show {real:.0f}."
        yield _found(record, "missing", seen, "modes")


def oscillation(record: RunRecord) -> Iterator[Finding]:
    """Whether the generator is far from its own average."""
    unrest = record.last("unrest")
    if unrest is not None and unrest > RESTLESS:
        seen = (
            f"For the same latent the generator is {unrest:.0%} of the distance of two real samples away from its own "
            "moving average: it circles the equilibrium instead of approaching it."
        )
        yield _found(record, "oscillation", seen, "unrest")


def memorised(record: RunRecord) -> Iterator[Finding]:
    """Whether samples are copies of training samples."""
    found = None if record.inspection is None else record.inspection.memorisation
    if found is not None and found.copies > COPIED:
        seen = (
            f"{found.copies:.0%} of the generated samples are nearer to a training sample than 99 of 100 new ones: the "
            f"median distance is {found.generated:.3g}, that of held-out samples {found.held_out:.3g}. The generator "
            "repeats its training set."
        )
        yield _found(record, "memorised", seen, "")


def unlike(record: RunRecord) -> Iterator[Finding]:
    """Whether a classifier, fresh or the run's own, tells samples from real ones, and whether they are near them."""
    found = record.inspection
    if found is None:
        return
    test, near = found.two_sample, found.memorisation.near
    own = 0.0 if found.critic is None or found.critic.served is None else found.critic.served
    fresh = (
        "small classifier, trained now, tells which of a real and a generated sample is real in "
        f"{_percent(test.auc)} of pairs (standard error {_percent(test.auc_error)}; 50% is a coin)"
    )
    if test.auc >= NOTICED:
        seen = f"A {fresh}"
    elif own >= NOTICED:
        seen = f"The run's own critic knows the generated sample in {_percent(own)} of pairs; a {fresh}"
    else:
        return
    if near < NEAR:
        words = f"{seen}, and {near:.0%} of the samples are as near to the data as real ones are: they are not like it."
        yield _found(record, "unlike", words, "nearness")
    else:
        share = "nearly all" if test.auc >= TOLD_APART else "most"
        words = f"{seen}: {near:.0%} of the samples are near the data, but {share} of them differ in some respect."
        yield _found(record, "distinguishable", words, "nearness")


def counts_modes(record: RunRecord) -> bool:
    """Whether enough samples are in modes to say which are missing; noise that a classifier names is in none."""
    if (
        not isinstance(record.config.data, MixtureConfig)
        and record.inspection is not None
        and record.inspection.memorisation.near < NEAR
    ):
        return False
    inside, probed, real = record.last("in_a_mode"), record.last("probe_samples"), record.last("modes_of_real")
    if inside is None or probed is None or real is None:
        return False
    return inside >= LEAST_IN_MODES or inside * probed >= ENOUGH_A_MODE * real


def _found(record: RunRecord, name: Name, words: str, chart: str) -> Finding:
    return Finding(name, words, advice_for(name, record.config), chart)


def _last(count: int) -> int:
    """Number of measurements in the last third."""
    return max(1, count // LAST_PART)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _critic_chart(record: RunRecord) -> str:
    return "divergence" if record.config.objective.loss_family in LOG_ODDS else "accuracy"


def _spread(record: RunRecord) -> float | None:
    """Spread of the critic's logits: at the checkpoint, or from the log's means."""
    if record.inspection is not None and record.inspection.critic is not None:
        return record.inspection.critic.spread
    real, fake = record.logged("critic/logit_real"), record.logged("critic/logit_fake")
    return abs(real[-1] - fake[-1]) if real and fake else None


def _is_flat(record: RunRecord) -> bool:
    """Whether the critic's logits are nearly all the same."""
    critic = None if record.inspection is None else record.inspection.critic
    least = FLAT_CLIPPED if record.config.objective.loss_family == "wasserstein" else FLAT
    return critic is not None and critic.spread < least


def _only_misses_modes(record: RunRecord) -> bool:
    """Whether samples are varied but miss modes; the finding is then about the modes."""
    drawn, real = record.last("modes"), record.last("modes_of_real")
    if drawn is None or real is None or not drawn < MISSED * real:
        return False
    variety = {name: figure for name in VARIETY if (figure := record.last(name)) is not None}
    return counts_modes(record) and drawn > OF_A_FEW * real and not signs(variety)


def _is_held(record: RunRecord) -> bool:
    """Whether a clip, or penalties larger than the game's loss, keep the critic flat."""
    if record.config.objective.kind == "wasserstein":
        return True
    penalties = [sum(row.get(f"critic/{name}", 0.0) for name in ("r1", "r2", "slope")) for row in record.rows]
    game = [abs(row["critic/adversarial"]) for row in record.rows if "critic/adversarial" in row]
    if not game:
        return False
    part = _last(len(game))
    return fmean(penalties[:part]) > fmean(game[:part])


def _sure(record: RunRecord) -> str | None:
    """Evidence that the critic is sure of its outputs, if it is."""
    minimax, other = record.last("gradient_minimax"), record.last("gradient_non_saturating")
    if minimax is None or other is None or minimax >= VANISHED * other:
        return None
    share = record.last("sure_share") or 0.0
    return (
        f"The critic is sure of {share:.0%} of its answers. The gradient of log(1 - D) has the norm {minimax:.1e}, "
        f"that of -log D {other:.1e}"
    )
