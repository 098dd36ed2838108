"""The HTTP service: answers /generate and /score from packages. It never imports torch or training."""

__version__ = "0.6.0"
