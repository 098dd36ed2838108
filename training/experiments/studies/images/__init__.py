"""Studies of games of images, one experiment a module.

In: a `Setting`. Out: `Metrics` of one seed.
May import experiments' base, trained and image_quality, and everything below experiments.
"""
