"""What is served: packages found, verified, vetted and handed to the engine.

In: the models folder, whose files are not trusted; out: `ServedPackage`s, found by name and version in the registry.
`signatures.py` is the one table of which tensors a package's graphs have; `drift.py` compares live samples with a
manifest's. May import: engine, media, metrics, errors.
"""
