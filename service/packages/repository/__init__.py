"""Packages that come and go. In: the models folder; out: the registry, kept up to date while the service runs.

May import: packages.vetting, packages, engine, metrics, settings.
"""
