"""Packages of graphs that this project did not make: their tensors found or told, their borders made the package's.

In: ONNX files of a generator (with a mapping network before it), a discriminator, an encoder. Out: `Adoption`: what was
decided and why, and the package's folder.
May import export, evaluation, data, networks.base and the root's shared modules; never loop or diagnostics.
"""

from training.adopt.adoption import Sources, adopt, as_plain, read_sources
from training.adopt.decisions import Adoption, Decision, Options, read_options
from training.adopt.graph_files import GraphFile

__all__ = [
    "Adoption",
    "Decision",
    "GraphFile",
    "Options",
    "Sources",
    "adopt",
    "as_plain",
    "read_options",
    "read_sources",
]
