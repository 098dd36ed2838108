"""Training of generative adversarial networks, from data to a package that the service can serve.

    config (TOML) -> data -> networks -> objective -> trainer -> package

Nothing here knows of HTTP or imports the service; the two meet in the package format, `models/manifest.schema.json`.
"""
