"""The HTTP service: answers /generate and /score from packages. It never imports torch or training."""

__version__ = "0.7.0"
