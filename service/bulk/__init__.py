"""Many samples to files, without HTTP. In: a package, a request, a range of seeds; out: shards and their index.

A shard is a function of the plan and its number alone, so that processes and hosts share the work without talking to
each other, and what is drawn again has the same bytes. May import: app, api, packages, engine, media and below.
"""
