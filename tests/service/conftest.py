"""Hypothesis without a stopwatch: a machine that is busy elsewhere must not fail a property."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
