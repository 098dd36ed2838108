"""Studies of games of vectors and of items, one experiment a module.

In: a `Setting`. Out: `Metrics` of one seed.
May import experiments' base, trained, mixture_coverage and stopped_ranking, and everything below experiments.
"""
