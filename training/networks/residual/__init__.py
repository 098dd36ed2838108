"""Residual networks for photos: the pair of R3GAN, and SNGAN's.

In: a `Task` and the keys of a kind. Out: torch modules.
May import the modules of `training.networks`, tables and errors.
"""
