"""Calibrates an adopted discriminator on real images, and says how its scores are read.

    folder of images ─▶ the package's size and channels ─▶ logits ─┐
    as many samples of the package's generator ───────────▶ logits ─┴─▶ calibration, percentiles

Shapes: N images, C H W channels, height and width, K classes.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.adopt import packaging
from training.adopt.critics import Critic, as_shown
from training.adopt.decisions import Decision, Options
from training.adopt.generators import AdoptedGenerator
from training.data.image_data import Bytes, Labels
from training.data.image_folder import folder
from training.data.image_folder.folder import FolderConfig
from training.data.image_folder.notes import CACHE
from training.errors import ExportError
from training.evaluation.evaluate import MOST_SAMPLES
from training.export.calibration import Calibration, calibrate, quantiles
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, LOGIT, PIXELS, SAMPLE
from training.export.graphs.runtime import Arrays, Graph
from training.export.manifest import DiscriminatorFacts
from training.export.unknown_label import MOST_CLASSES, UnknownLabel, calibrate_unknown_label

OF_A_CONFIGURATION: Final = re.compile(r" \(\[data\][^)]*\)")  # hints for a training run
PART: Final = (
    1_024  # images whose scores are computed at once; a multiple of the batches of most graphs, which then stay
)
DEFAULT_LOSS: Final = "non_saturating"  # what most discriminators with one logit were trained with


@dataclass(frozen=True, kw_only=True)
class RealImages:
    """Images to calibrate with.

    Attributes:
        pixels: [N, C, H, W].
        labels: [N]; None where the discriminator takes none.
        names: of the classes, by the folders; empty where the discriminator takes none.
        origin: name and hash of the data.
        notes: how they were read.
    """

    pixels: Bytes
    labels: Labels | None
    names: tuple[str, ...]
    origin: dict[str, object]
    notes: tuple[str, ...]


def read_images(path: Path, generator: AdoptedGenerator, critic: Critic, options: Options) -> RealImages:
    """Read the images of a folder as the package's samples: those of folders test or val if there are, else all.

    Raises:
        DataError: if they cannot be read.
        ExportError: if the package makes no images, or the folders are not its classes.
    """
    face = generator.face
    if face.kind != "image":
        raise ExportError(f"--data {path} is a folder of images, and {options.name} makes vectors; leave --data out")
    channels, height, width = face.sample_shape
    config = FolderConfig(
        path=str(path),
        image_size=(height, width),
        channels=1 if channels == 1 else 3,
        labels="folders" if critic.takes_label else "none",
    )
    data = folder.load(config)
    is_split = any(note.startswith("held out: ") and "folder" in note for note in data.notes)
    names = data.label_names or ()
    if critic.takes_label and names != face.labels and (options.labels is not None or len(names) != len(face.labels)):
        raise ExportError(
            f"the folders of {path} are the classes {', '.join(names)}, and the package's are "
            f"{', '.join(face.labels)}; name the folders as the labels, or give --labels in their order"
        )
    pixels, labels = data.held_out, data.held_out_labels
    if not is_split:
        pixels = np.concatenate([data.held_out, data.train])
        if labels is not None and data.train_labels is not None:
            labels = np.concatenate([labels, data.train_labels])
    rows = np.arange(min(len(pixels), MOST_SAMPLES)) * len(pixels) // min(len(pixels), MOST_SAMPLES)
    return RealImages(
        pixels=pixels[rows],
        labels=None if labels is None else labels[rows],
        names=names if critic.takes_label else (),
        origin={"name": data.name, "sha256": data.sha256, "attribution": data.attribution},
        notes=tuple(
            OF_A_CONFIGURATION.sub("", note)
            for note in data.notes
            if not note.startswith(("classes: none", CACHE)) and (is_split or not note.startswith("held out: "))
        ),
    )


def calibrated(
    critic: Critic, generator: AdoptedGenerator, real: RealImages | None, options: Options
) -> tuple[DiscriminatorFacts, list[Decision]]:
    """Say how a discriminator's logits are read.

    Args:
        real: None where there are none; then logits are all there is.
    """
    loss = options.loss or DEFAULT_LOSS
    facts = DiscriminatorFacts(
        opset=critic.graph.opset,
        loss_family=loss,
        batch_coupled=critic.coupled,
        calibration=None,
        real_quantiles=[],
        generated_quantiles=[],
    )
    decisions = [Decision("loss", loss, "as stated" if options.loss else "no graph states it", "--loss FAMILY")]
    if real is None:
        return facts, decisions
    judged = _Judged(critic, generator)
    generated, asked = judged.generated(len(real.pixels))
    real_logits, generated_logits = judged.logits(real.pixels, real.labels), judged.logits(generated, asked)
    calibration = calibrate(real_logits, generated_logits)
    decisions.append(
        Decision(
            "calibration", str(calibration), f"{len(real.pixels):,} images of {real.origin['name']}", "--data FOLDER"
        )
    )
    if calibration.area_under_curve <= 1 / 2:
        decisions.append(
            Decision("warning", "its scores do not tell real from generated", "area under the curve 0.5 or less",
                     "--critic-range, --layout or --critic-output")
        )  # fmt: skip
    facts = replace(
        facts,
        calibration=calibration,
        real_quantiles=quantiles(real_logits),
        generated_quantiles=quantiles(generated_logits),
        unknown_label=judged.unknown_label(real, generated, asked, calibration),
    )
    return facts, decisions


@dataclass(frozen=True)
class _Judged:
    """A discriminator and a generator of one package, loaded where they are used."""

    critic: Critic
    generator: AdoptedGenerator

    def generated(self, count: int) -> tuple[Bytes, Labels | None]:
        """Draw samples [count, C, H, W] as they are sent, with their classes."""
        face = self.generator.face
        inputs = draw(Purpose.CALIBRATION, count, face)
        graph, one_by_one = Graph(self.generator.graph.content), self.generator.graph.one_by_one
        made = packaging.run(graph, inputs, face, one_by_one=one_by_one, what="samples to calibrate with")[PIXELS]
        pixels = np.ascontiguousarray(made.transpose(0, 3, 1, 2)).astype(np.uint8)
        return pixels, inputs[LABEL].astype(np.int64) if face.labels else None

    def logits(self, pixels: Bytes, labels: Labels | None) -> NDArray[np.float32]:
        """Compute the logits [N] of images."""
        face = self.generator.face
        graph, parts = Graph(self.critic.graph.content), []
        for start in range(0, len(pixels), PART):  # as floats all images would take four times the memory
            rows = slice(start, start + PART)
            inputs: Arrays = {SAMPLE: as_shown(pixels[rows], face.value_range)}
            if self.critic.takes_label and labels is not None:
                inputs[LABEL] = labels[rows]
            parts.append(packaging.run(graph, inputs, face, one_by_one=False, what="scores")[LOGIT])
        return np.concatenate(parts).astype(np.float32)

    def unknown_label(
        self, real: RealImages, generated: Bytes, asked: Labels | None, calibration: Calibration
    ) -> UnknownLabel | None:
        """Calibrate scores without a label; None where none is taken, or there are too many."""
        classes = len(self.generator.face.labels)
        if not self.critic.takes_label or real.labels is None or asked is None or classes > MOST_CLASSES:
            return None

        def under_every_class(pixels: Bytes) -> NDArray[np.float32]:
            columns = [self.logits(pixels, np.full(len(pixels), label, np.int64)) for label in range(classes)]
            return np.stack(columns, axis=1)

        return calibrate_unknown_label(
            under_every_class(real.pixels), real.labels, under_every_class(generated), asked, calibration.curve
        )
