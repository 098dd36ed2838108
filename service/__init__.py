"""The HTTP service: answers /generate and /score from packages. It never imports torch or training.

ONNX Runtime's Linux builds report events of their use to their vendor over the network. A service that is run by others
contacts no host that it was not told to, so that this is off before anything can import that library; an operator who
wants it sets the variable to 0.
"""

import os

__version__ = "0.12.0"

if not os.environ.get("ORT_DISABLE_TELEMETRY"):  # an empty variable would turn the reports on
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
