"""What one /encode request comes to: given samples for the encoder of their package, and what it reads in them.

The encoder of a BiGAN gives the latent, that of an InfoGAN (its code head) the codes; what a package's encoder gives is
what its callers get.

Shapes: N samples, Z latent coordinates, K elements of the code tensor.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), section 3: the encoder E(x).
    Chen et al., InfoGAN (2016), section 5: the head Q(c | x).
"""

import math

import numpy as np

from service.engine.port import Samples
from service.errors import InvalidRequest, Problem
from service.packages.catalogue import ServedPackage
from service.packages.schema import Graph
from service.routes.answer_schemas import EncodeAnswer, Encoding
from service.routes.codes import name_readings
from service.routes.samples_in import Given


def encoder_of(package: ServedPackage, given: Given) -> Graph:
    """Answer the package's encoder.

    Raises:
        InvalidRequest: it has none.
    """
    if package.manifest.encoder is None:
        words = (
            f"the package {package.key} has no encoder; name one that has: GET /models/NAME/versions/VERSION shows "
            "`encoder` where there is one"
        )
        raise InvalidRequest(Problem((given.place, "model"), words))
    return package.manifest.encoder


def numbers_of(encoder: Graph) -> int:
    """Count the numbers that an encoder answers of one sample."""
    return sum(math.prod(tensor.shape[1:]) for tensor in encoder.outputs)


def check_encodings(encoded: Samples) -> None:
    """Refuse what no encoder can make sense of.

    Raises:
        InvalidRequest: a sample's latent or codes are not finite.
    """
    for array in (encoded.latents, encoded.readings):
        if array is None:
            continue
        broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if broken.size:
            words = f"sample {broken[0]} has values so large that the encoder's answer is not finite"
            raise InvalidRequest(Problem(("body",), words))


def write_encodings(package: ServedPackage, encoded: Samples) -> bytes:
    """Write the answer's JSON.

    Raises:
        InvalidRequest: as `check_encodings` says.
    """
    check_encodings(encoded)
    codes = package.manifest.codes
    columns: dict[str, list[object]] = {}
    if encoded.latents is not None:
        columns["latent"] = encoded.latents.tolist()
    if encoded.readings is not None and codes is not None:
        columns["codes"] = [name_readings(row, codes) for row in encoded.readings.tolist()]
    answered = EncodeAnswer(
        model=package.key.name,
        version=str(package.key.version),
        package_sha256=package.sha256,
        encodings=[
            Encoding.model_validate(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ],
    )
    return answered.model_dump_json(exclude_none=True).encode()
