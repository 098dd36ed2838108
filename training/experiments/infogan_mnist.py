"""InfoGAN on MNIST: does a code of ten categories, found without any label, come to mean the digit?

Labels are used once, after training, to match categories with digits; the code is read from the held-out images by the
exported encoder's graph, which is what the service answers `/encode` with.

The categories are steady under slight warps of real images, which is not in the paper (`training.objectives.infogan`).

References:
    Chen et al., InfoGAN (2016), section 7.2: 5 % error in classifying MNIST's digits by the categorical code.
"""

from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from training.codes import Codes
from training.data import ImageData
from training.evaluation.classifier import labels_of
from training.evaluation.codes import code_accuracy
from training.experiments.code_sheet import code_sheet
from training.experiments.port import Experiment, Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.packaging.draws import Purpose
from training.packaging.interface import CODE, LATENT, SAMPLE
from training.packaging.pair import floats
from training.packaging.runtime import Graph

CONFIG: Final = "infogan-mnist"
CATEGORIES: Final = 10  # of the configuration's one categorical code, which comes first
MATCHED = 0.95  # the paper's
ASKED_SAMPLES = 10_000
FIGURE: Final = "codes.png"
SHOWN_LATENTS = 10


def measure(setting: Setting) -> Metrics:
    """Train one seed and read the code of every held-out image.

    Args:
        setting: of one seed; its folder keeps the run.

    Returns:
        Accuracy of the code as a classifier of digits, by one-to-one matching and by majority, and how often the
        category that the generator was asked for is read back from its samples.
    """
    pair, played, data = exported(trained(CONFIG, setting), setting)
    images, encoder = cast("ImageData", data), cast("Graph", pair.encoder)  # as the configuration has it
    _, labels, _ = labels_of(images)

    def category(samples: NDArray[np.generic]) -> NDArray[np.float64]:
        return encoder.output(CODE, {SAMPLE: samples})[:, :CATEGORIES].astype(np.float64)

    found = code_accuracy(category(floats(images.held_out)), labels)
    asked = pair.inputs(Purpose.EVALUATION, ASKED_SAMPLES)
    read = category(pair.generator.output(SAMPLE, asked)).argmax(axis=1)
    codes, shown = cast("Codes", played.config.codes), asked[LATENT][:SHOWN_LATENTS].astype(np.float32, copy=False)
    code_sheet(pair.generator, codes, shown).save(setting.folder / FIGURE, optimize=True)
    obeyed = read == asked[CODE][:, :CATEGORIES].argmax(axis=1)
    setting.say(f"categories stand for {', '.join(map(str, found.classes))}: {found.one_to_one:.2%} one to one")
    return {
        "one_to_one_accuracy": found.one_to_one,
        "majority_accuracy": found.majority,
        "read_back": float(obeyed.mean()),
    }


EXPERIMENT: Final = Experiment(
    name="infogan_mnist",
    system="InfoGAN, one code of ten categories, steady under slight warps of real images, and two continuous ones",
    protocol="argmax of Q(c|x), read from MNIST's 10,000 held-out images by the exported encoder and matched one to "
    "one with the digits (Hungarian algorithm); beside it the majority vote, and the share of 10,000 samples whose "
    "category is read back",
    paper="5 % error (Chen et al. 2016, section 7.2), the matching not stated",
    seeds=5,
    targets=(Target(metric="one_to_one_accuracy", bound="at_least", value=MATCHED),),
    run=measure,
    shown=("majority_accuracy", "read_back"),
)
