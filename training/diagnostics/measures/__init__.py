"""Measurements of the generator and the discriminator on which a diagnosis rests.

In: networks, generated and real samples. Out: rows of figures (`Probe`) and a comparison with the data (`Inspection`).
May import state, config, evaluation, objectives and data; never the modules of diagnostics above it.
"""
