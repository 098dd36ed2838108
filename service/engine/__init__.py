"""What is computed: seeds to samples, samples to logits. In: packages and jobs, as plain picklable data; out: arrays.

`interface` is the only door: `Engine.load` takes `PackageGraphs` (`model_spec`), `Engine.submit` a job. The modules of
this folder are the vocabulary that the folders below share; `core` is the engine. Nothing here knows HTTP, manifests or
media types. May import: service.metrics, service.memory, service.errors.
"""
