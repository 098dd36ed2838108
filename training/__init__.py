"""Training of generative adversarial networks, from data to a package that the service can serve.

    config (TOML) -> data -> networks -> objective -> trainer -> package

Nothing here knows of HTTP or imports the service; the two meet in the package format, `models/manifest.schema.json`.

Training and exporting contact nobody: ONNX Runtime's reports to its vendor are off, as in the service.
"""

import os

if not os.environ.get("ORT_DISABLE_TELEMETRY"):  # an empty variable would turn the reports on
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
