"""The package's model card, in Markdown.

Every number on it is also in the manifest.

References:
    Mitchell et al., Model Cards for Model Reporting (2019).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from training import config as configuration
from training.data import Data, ImageData, InteractionData
from training.evaluation.pictures import samples_wanted
from training.export.calibration import ERROR_BINS, Calibration, Platt
from training.export.graphs.parity import Parity
from training.export.provenance import portable
from training.export.quality import NOT_MEASURED, Quality
from training.export.unknown_label import UnknownLabel
from training.state.checkpoint import Run

OWN_NAMES: Final = {  # of the games that are not called "… GAN"
    "bigan": "A BiGAN",
    "fgan": "An f-GAN",
    "infogan": "An InfoGAN",
    "irgan": "An IRGAN",
    "wasserstein_gp": "A Wasserstein GAN with gradient penalty",
}
UNLABELLED: Final = "Scores without a label"
CHANNEL_WORDS = {1: "grey", 3: "colour"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was measured of a package.

    Attributes:
        noise_probability: mean P(real) that it gives to uniform noise.
        quality: of the samples; None where they cannot be measured.
        unknown_label: reading of logits without a label; None where there is none.
        diagnosis: what `diagnose` found of the run, a sentence by its name; empty where it was not diagnosed.
    """

    parity: Parity
    calibration: Calibration
    noise_probability: float
    noise_samples: int
    quality: Quality | None
    unknown_label: UnknownLabel | None = None
    diagnosis: Mapping[str, str] = field(default_factory=dict)


def summary(run: Run, data: Data) -> str:
    """Describe a package in one sentence."""
    if isinstance(data, ImageData):
        channels, height, width = data.image_shape
        kind = f"{CHANNEL_WORDS[channels]} images of {height}x{width} pixels"
    elif isinstance(data, InteractionData):
        kind = f"one of {data.items:,} items for one of {data.users:,} users, by preferences"
    else:
        size = data.sample_shape[0]
        kind = f"vectors of {size} numbers" if size > 1 else "numbers"
    game = run.config.objective.kind
    name = OWN_NAMES.get(game, f"A {game.replace('_', '-')} GAN")
    asked = ", of the class asked for" if run.config.generator.conditional and isinstance(data, ImageData) else ""
    return f"{name} that draws {kind} like those of {data.name}{asked}."


def card(
    name: str, version: int, run: Run, data: Data, findings: Findings, license_text: str | None, *, drawn: bool
) -> str:
    """Format the card.

    Args:
        drawn: whether the package has a preview.

    Returns:
        Markdown.
    """
    sections = {
        f"{name} {version}": [summary(run, data), *(["", _picture(run, data)] if drawn else [])],
        "Use": [*_use(data), *_encoder(run)],
        "Data": [
            f"- {data.attribution}",
            f"- {len(data.train):,} {_noun(data)} trained on, {len(data.held_out):,} held out",
            f"- SHA-256 `{data.sha256}`",
            *([f"- License of these weights: {license_text}"] if license_text else []),
        ],
        "Training": _training(run),
        **({"Diagnosis": _diagnosis(findings.diagnosis)} if findings.diagnosis else {}),
        "Quality": _quality(findings.quality),
        "Scores": _scores(findings, data),
        **({} if findings.unknown_label is None else {UNLABELLED: unlabelled(findings.unknown_label)}),
        "Limits": _limits(findings.quality),
    }
    parts = [
        f"{'#' if level == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for level, (title, lines) in enumerate(sections.items())
    ]
    return "\n\n".join(parts) + "\n"


def _encoder(run: Run) -> list[str]:
    if run.config.codes is not None:
        return ["", "`encoder.onnx` reads a sample's codes: the probability of each category, then the others' means."]
    if run.config.encoder is not None:
        return ["", "`encoder.onnx` finds a sample's latent; `discriminator.onnx` judges the sample together with it."]
    return []


def _use(data: Data) -> list[str]:
    if isinstance(data, ImageData):
        samples, genuine = "samples in [-1, 1] and to the pixels that are sent", "an image is genuine"
    elif isinstance(data, InteractionData):
        samples, genuine = "an item for a user", "a person likes an item"
    else:
        samples, genuine = "samples", "a sample is genuine"
    return [
        f"`generator.onnx` maps latents to {samples}; "
        "`discriminator.onnx` maps samples to logits, which the manifest's calibration turns into probabilities.",
        "",
        "Meant for demonstrations, teaching, tests and research on generative models. Not meant as evidence that "
        f"{genuine}: the discriminator knows one generator's samples from one data set's, and nothing else.",
    ]


def _training(run: Run) -> list[str]:
    objective = configuration.to_tables(run.config)["objective"]
    settings = ", ".join(f"{key} {value}" for key, value in objective.items() if key != "kind")
    return [
        f"Objective `{run.config.objective.kind}` ({settings}); {run.samples_seen:,} generated samples seen"
        + ("" if run.best is None else f", where its samples were the best measured while it trained ({run.best})")
        + "; the generator's weights are their exponential moving average.",
        *_history(run),
        "To do it again, with the configuration below as `config.toml`"
        + (":" if not any(change.event != "set" for change in run.history) else ", but for these changes:"),
        "",
        "    python -m training train config.toml --out runs/again",
        "    python -m training export runs/again",
        "",
        "```toml",
        configuration.dumps(portable(run.config)).strip(),
        "```",
    ]


def _diagnosis(found: Mapping[str, str]) -> list[str]:
    told = [f"- *{name}*: {words}" for name, words in found.items()]
    return ["What `python -m training diagnose` says of the run:", "", *told]


def _history(run: Run) -> list[str]:
    """What was changed of the run, so that its configuration alone does not say how it was trained."""
    lines = [f"- at sample {change.samples:,}: {change.text}" for change in run.history]
    return ["", "Changes:", "", *lines, ""] if lines else []


def _quality(found: Quality | None) -> list[str]:
    return [NOT_MEASURED] if found is None else [found.told, "", *found.table]


def _scores(findings: Findings, data: Data) -> list[str]:
    calibration, parity = findings.calibration, findings.parity
    curve = calibration.curve
    noise = f"{findings.noise_samples:,} {_noun(data)} of uniform noise"
    shape = "a line (Platt)" if isinstance(curve, Platt) else f"a monotone curve of {len(curve.knots)} knots"
    return [
        f"A logit becomes P(real) at even prior by {shape}, fitted on {calibration.fit_samples:,} samples, half of "
        f"them held-out {_noun(data)} and half generated, and judged on {calibration.evaluation_samples:,} others:",
        "",
        "| figure | value |",
        "| --- | ---: |",
        f"| area under the ROC curve | {calibration.area_under_curve:.4f} |",
        f"| expected calibration error, {ERROR_BINS} equal bins | {calibration.expected_calibration_error:.4f} |",
        f"| log loss, nats (a coin's is {math.log(2):.4f}) | {calibration.log_loss:.4f} |",
        f"| mean P(real) of {noise} | {findings.noise_probability:.4f} |",
        "",
        "What noise scores is reported, not promised: neither density has samples there, so their ratio means nothing.",
        "",
        f"Torch and ONNX Runtime agree: {parity}.",
    ]


def unlabelled(found: UnknownLabel) -> list[str]:
    """Format the section on scores without a label, lines of Markdown."""
    calibration, classes = found.calibration, len(found.posterior.offsets)
    return [
        f"Where no class is named, all {classes} are judged. A softmax regression on their logits says how likely each "
        "class is, and names one; the probabilities of all, weighed by it, become P(real) by a calibration of their "
        f"own. Fitted on {calibration.fit_samples:,} samples and judged on {calibration.evaluation_samples:,} others, "
        "the same as above:",
        "",
        "| figure, the class unknown | value |",
        "| --- | ---: |",
        f"| area under the ROC curve | {calibration.area_under_curve:.4f} |",
        f"| expected calibration error, {ERROR_BINS} equal bins | {calibration.expected_calibration_error:.4f} |",
        f"| log loss, nats (a coin's is {math.log(2):.4f}) | {calibration.log_loss:.4f} |",
        f"| held-out samples that are given their own class | {found.label_accuracy:.4f} |",
        "",
        "The class is read from the discriminator, which was trained to tell real from generated and not one class "
        "from another: it is no classifier.",
    ]


def _limits(found: Quality | None) -> list[str]:
    return [
        "- It draws what its data shows, with the data's bias, and nothing else.",
        "- A sample may resemble a training sample; no search for copies was made.",
        *(f"- {limit}" for limit in (found.limits if found is not None else ())),
    ]


def _picture(run: Run, data: Data) -> str:
    classes = data.classes if run.config.generator.conditional and isinstance(data, ImageData) else 0
    rows = ", a class in each row" if classes else ""
    return f"![{samples_wanted(data.sample_shape, classes):,} samples, none chosen{rows}](preview.png)"


def _noun(data: Data) -> str:
    if isinstance(data, InteractionData):
        return "pairs of a user and an item"
    return "images" if isinstance(data, ImageData) else "vectors"
