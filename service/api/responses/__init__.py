"""From samples to bytes. In: what the engine computed; out: responses in the media type that was asked for.

May import: api.requests, api.schemas, api's vocabulary, server, packages, engine, media.
"""
