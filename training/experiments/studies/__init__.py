"""One experiment a module, each with its protocol, its targets and its `EXPERIMENT`.

In: a `Setting`. Out: `Metrics` of one seed.
May import experiments' base, trained, mixture_coverage and stopped_ranking, and everything below experiments.
"""
