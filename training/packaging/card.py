"""The package's card: what a person should know before using it, in Markdown.

The headings follow what the field expects of a model card; every number on it is also in the manifest.

References:
    Mitchell et al., Model Cards for Model Reporting (2019).
"""

import math
from dataclasses import dataclass

from training import config as configuration
from training.calibration import ERROR_BINS, Calibration, Platt
from training.checkpoint import Run
from training.data.image_data import ImageData
from training.evaluation import Evaluation
from training.evaluation.tables import metrics_table
from training.packaging.parity import Parity
from training.packaging.provenance import portable

CHANNEL_WORDS = {1: "grey", 3: "colour"}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was measured of a package.

    Attributes:
        parity: of the graphs and the networks.
        calibration: of the discriminator.
        noise_probability: mean P(real) that it gives to uniform noise.
        noise_samples: how much noise that was.
        evaluation: of the samples; None where the data has no labels to train a classifier with.
    """

    parity: Parity
    calibration: Calibration
    noise_probability: float
    noise_samples: int
    evaluation: Evaluation | None


def summary(run: Run, data: ImageData) -> str:
    """One sentence that says what a package is."""
    channels, height, width = data.image_shape
    kind = f"{CHANNEL_WORDS[channels]} images of {height}x{width} pixels"
    return f"A {run.config.objective.kind.replace('_', '-')} GAN that draws {kind} like those of {data.name}."


def card(name: str, version: int, run: Run, data: ImageData, findings: Findings, license_text: str | None) -> str:
    """Write the card.

    Args:
        name: of the package.
        version: of the package.
        run: the trained pair.
        data: that it was trained on.
        findings: what was measured.
        license_text: of the weights, if stated.

    Returns:
        Markdown.
    """
    sections = {
        f"{name} {version}": [summary(run, data), "", "![64 samples, none chosen](preview.png)"],
        "Use": _use(),
        "Data": [f"- {data.attribution}", f"- {len(data.train):,} images trained on, {len(data.held_out):,} held out"]
        + [f"- SHA-256 `{data.sha256}`"]
        + ([f"- License of these weights: {license_text}"] if license_text else []),
        "Training": _training(run),
        "Quality": _quality(findings.evaluation),
        "Scores": _scores(findings),
        "Limits": _limits(findings.evaluation),
    }
    parts = [
        f"{'#' if level == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for level, (title, lines) in enumerate(sections.items())
    ]
    return "\n\n".join(parts) + "\n"


def _use() -> list[str]:
    return [
        "`generator.onnx` maps standard normal latents to samples in [-1, 1] and to the pixels that are sent; "
        "`discriminator.onnx` maps samples to logits, which the manifest's calibration turns into probabilities.",
        "",
        "Meant for demonstrations, teaching, tests and research on generative models. Not meant as evidence that an "
        "image is genuine: the discriminator knows one generator's samples from one data set's, and nothing else.",
    ]


def _training(run: Run) -> list[str]:
    objective = configuration.to_tables(run.config)["objective"]
    settings = ", ".join(f"{key} {value}" for key, value in objective.items() if key != "kind")
    return [
        f"Objective `{run.config.objective.kind}` ({settings}); {run.samples_seen:,} generated samples seen; the "
        "generator's weights are their exponential moving average. To do it again, with the configuration below as "
        "`config.toml`:",
        "",
        "    python -m training train config.toml --out runs/again",
        "    python -m training export runs/again",
        "",
        "```toml",
        configuration.dumps(portable(run.config)).strip(),
        "```",
    ]


def _quality(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["Not measured: the data has no labels, so there is no classifier of its own to measure with."]
    judge = evaluation.classifier
    return [
        f"{evaluation.samples:,} quantised samples of the exported graph against {evaluation.held_out:,} held-out "
        f"images. Features are the {judge.recipe.features} units before the output of a small classifier trained on "
        f"the same data ({judge.accuracy:.2%} of the held-out images right, weights SHA-256 `{judge.sha256}`). The "
        "column *real* has training images in the generator's place and is the floor. Figures compare only under the "
        "same classifier.",
        "",
        *metrics_table(evaluation),
    ]


def _scores(findings: Findings) -> list[str]:
    calibration, parity = findings.calibration, findings.parity
    curve = calibration.curve
    shape = "a line (Platt)" if isinstance(curve, Platt) else f"a monotone curve of {len(curve.knots)} knots"
    return [
        f"A logit becomes P(real) at even prior by {shape}, fitted on {calibration.fit_samples:,} samples, half of "
        f"them held-out images and half generated, and judged on {calibration.evaluation_samples:,} others:",
        "",
        "| figure | value |",
        "| --- | ---: |",
        f"| area under the ROC curve | {calibration.area_under_curve:.4f} |",
        f"| expected calibration error, {ERROR_BINS} equal bins | {calibration.expected_calibration_error:.4f} |",
        f"| log loss, nats (a coin's is {math.log(2):.4f}) | {calibration.log_loss:.4f} |",
        f"| mean P(real) of {findings.noise_samples:,} images of uniform noise | {findings.noise_probability:.4f} |",
        "",
        "What noise scores is reported, not promised: neither density has samples there, so their ratio means nothing.",
        "",
        f"Between torch and ONNX Runtime samples differ by at most {parity.sample:.1e}, pixels by {parity.pixels}, and "
        f"logits by {parity.logit:.1e} of the largest.",
    ]


def _limits(evaluation: Evaluation | None) -> list[str]:
    lines = [
        "- It draws what its data shows, with the data's bias, and nothing else.",
        "- A sample may resemble a training image; no search for copies was made.",
    ]
    if evaluation is not None:
        doubtful = 1 - evaluation.generated.modes.confident_share
        lines.append(
            f"- {doubtful:.1%} of its samples leave the classifier in doubt; some are no clear specimen of any class."
        )
    return lines
