"""HTTP without GANs: connections, limits, errors, the life of the process. In: bytes; out: responses of a handler.

May import: metrics, logs, settings, errors; neither api nor packages nor engine.
"""
