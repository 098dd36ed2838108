"""Sources of data, one a file; `KINDS` is what a configuration may ask for.

In: a table of the configuration. Out: `ImageData`, `VectorData` or `InteractionData`, in memory.
May import tables, files and errors only.
"""

from typing import Final, assert_never

from training.data import digits, mixtures, mnist, planted, rating_files, shapes, stacked_mnist
from training.data.digits import DigitsConfig
from training.data.image_data import Dataset, ImageData
from training.data.image_folder import folder
from training.data.image_folder.folder import FolderConfig
from training.data.interaction_data import InteractionData
from training.data.mixtures import GaussianMixtureConfig, GridConfig, MixtureConfig, RingConfig
from training.data.mnist import MnistConfig
from training.data.planted import PlantedConfig
from training.data.rating_files import InteractionsConfig
from training.data.shapes import ShapesConfig
from training.data.stacked_mnist import StackedMnistConfig
from training.data.vector_data import VectorData

SelfContained = DigitsConfig | ShapesConfig | MixtureConfig | PlantedConfig  # need no files
DataConfig = MnistConfig | StackedMnistConfig | FolderConfig | InteractionsConfig | SelfContained
Data = ImageData | VectorData | InteractionData

__all__ = [
    "KINDS",
    "Data",
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "FolderConfig",
    "GaussianMixtureConfig",
    "GridConfig",
    "ImageData",
    "InteractionData",
    "InteractionsConfig",
    "MixtureConfig",
    "MnistConfig",
    "PlantedConfig",
    "RingConfig",
    "SelfContained",
    "ShapesConfig",
    "StackedMnistConfig",
    "VectorData",
    "load",
]

KINDS: Final[dict[str, type[DataConfig]]] = {
    source.kind: source
    for source in (
        MnistConfig,
        StackedMnistConfig,
        DigitsConfig,
        FolderConfig,
        ShapesConfig,
        RingConfig,
        GridConfig,
        GaussianMixtureConfig,
        InteractionsConfig,
        PlantedConfig,
    )
}


def load(config: DataConfig) -> Data:  # noqa: PLR0911 - one return a kind
    """Read the data that a configuration asks for into memory.

    Returns:
        All samples, split into those to train on and those held out.

    Raises:
        TrainingError: if they are missing, damaged or unsuitable.
    """
    match config:
        case MnistConfig():
            return mnist.load(config)
        case StackedMnistConfig():
            return stacked_mnist.load(config)
        case DigitsConfig():
            return digits.load(config)
        case FolderConfig():
            return folder.load(config)
        case ShapesConfig():
            return shapes.load(config)
        case RingConfig() | GridConfig() | GaussianMixtureConfig():
            return mixtures.load(config)
        case InteractionsConfig():
            return rating_files.load(config)
        case PlantedConfig():
            return planted.load(config)
        case _:
            assert_never(config)
