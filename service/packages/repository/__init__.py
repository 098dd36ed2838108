"""Packages that come and go. In: the models folder or object storage; out: the registry, kept up to date meanwhile.

May import: packages.vetting, packages, engine, metrics, settings.
"""
