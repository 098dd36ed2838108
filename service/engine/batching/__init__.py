"""From requests to batches. In: requests with rows and deadlines; out: a future per request, resolved with its rows.

`engine.scheduling` decides; `batcher` (event loop), `queue` (shared), `worker` and `device_worker` (threads) act;
`device_thread` runs what is on a device. May import: engine.scheduling, engine.sampling, engine.backends and the
modules of `service.engine` itself.
"""
