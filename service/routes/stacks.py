"""The stack: everything that the bytes of a sample's file depend on besides its seed and parameters, as one short id.

    package ─┐
    engine ──┼─▶ SHA-256 ─▶ id
    media ───┘

Each part names itself (the package by the hash of its manifest; engine and media by their versions and by what they
were seen to compute here), so replicas share an id exactly where they share bytes, and an upgrade of any part changes
it. Pure: a package in, a string out.
"""

import hashlib

from service.media.fingerprint import encoders_fingerprint
from service.packages.catalogue import ServedPackage

# 64 bits: of the stacks that a package will ever meet, no two will share an id.
ID_CHARACTERS = 16


def stack_id(package: ServedPackage) -> str:
    """Answer the id of what writes this package's samples here, 16 hexadecimal digits."""
    parts = (package.sha256, package.report.generator.fingerprint, encoders_fingerprint())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:ID_CHARACTERS]
