"""From requests to batches. In: requests with rows and deadlines; out: a future per request, resolved with its rows.

`scheduler`, `batch_size` and `run_times` decide and are pure: no asyncio, no threads, no clock. `batcher` (event loop),
`queue` (shared), `worker` and `device_worker` (threads) act; `device_thread` runs what is on a device. May import:
engine.sampling, engine.backends and the modules of `service.engine` itself.
"""
