"""Training of generative adversarial networks, from data to a package that the service can serve.

    config (TOML) -> data -> networks -> objective -> trainer -> package

In: a configuration and data. Out: a run's folder, and packages in the format of `models/manifest.schema.json`, which is
all that training shares with the service. May import no HTTP library.

ONNX Runtime's telemetry is off, as in the service.
"""

import os

__version__ = "0.12.0"

if not os.environ.get("ORT_DISABLE_TELEMETRY"):  # an empty variable would turn it on
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
