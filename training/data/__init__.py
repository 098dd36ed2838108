"""Sources of images, one a file; `KINDS` is what a configuration may ask for."""

from typing import Final, assert_never

from training.data import digits, folder, mnist
from training.data.digits import DigitsConfig
from training.data.folder import FolderConfig
from training.data.image_data import ImageData
from training.data.mnist import MnistConfig

DataConfig = MnistConfig | DigitsConfig | FolderConfig

__all__ = ["KINDS", "DataConfig", "DigitsConfig", "FolderConfig", "ImageData", "MnistConfig", "load"]

KINDS: Final[dict[str, type[DataConfig]]] = {
    source.kind: source for source in (MnistConfig, DigitsConfig, FolderConfig)
}


def load(config: DataConfig) -> ImageData:
    """Read the data that a configuration asks for into memory.

    Args:
        config: the `[data]` table.

    Returns:
        All images, split into those to train on and those held out.

    Raises:
        DataError: if they are missing, damaged or unsuitable.
    """
    match config:
        case MnistConfig():
            return mnist.load(config)
        case DigitsConfig():
            return digits.load(config)
        case FolderConfig():
            return folder.load(config)
        case _:
            assert_never(config)
