"""From a request to a plan. In: bytes, headers, a query; out: validated jobs for the engine, or an `InvalidRequest`.

May import: api.schemas, api's vocabulary, server, packages, engine, media.
"""
