"""The shape of a package's samples, as routes need it.

It stands alone as the one place that a new kind of sample has to widen: the repository serves images, and refuses
packages of other kinds when it loads them.
"""

from service.errors import ServiceFault
from service.packages.repository import ServedPackage
from service.packages.schema import ImageSample


def image_shape(package: ServedPackage) -> tuple[int, int, int]:
    """Answer (H, W, C) of a package of images."""
    sample = package.manifest.sample
    if not isinstance(sample, ImageSample):
        raise ServiceFault(f"{package.key} makes {sample.kind} samples and should not have been loaded")
    return sample.height, sample.width, sample.channels
