"""Draw samples over the Open Inference Protocol with binary tensors, using only the standard library and NumPy.

    python examples/binary_tensors.py [127.0.0.1:8000] [mnist]

It makes four inputs according to the model's metadata and prints the shape of the four samples. A body is JSON followed
by bytes; a header has the length of the JSON part. A service that asks for keys is sent the variable API_KEY.
"""

import http.client
import json
import os
import sys

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

SAMPLES = 4
LENGTH = "Inference-Header-Content-Length"
KEY = {"X-API-Key": os.environ["API_KEY"]} if "API_KEY" in os.environ else {}
DTYPES = {"FP32": "<f4", "UINT8": "|u1", "INT64": "<i8"}
DATATYPES = {np.dtype(dtype): datatype for datatype, dtype in DTYPES.items()}


def answered(server: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Return the answer; ends the program with the service's words where it refuses."""
    answer = server.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(json.load(answer)["error"])
    return answer


def infer(server: http.client.HTTPConnection, model: str, inputs: dict[str, Array], output: str) -> Array:
    """Run a model; returns one of its outputs."""
    described = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": DATATYPES[array.dtype],
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in inputs.items()
    ]
    wanted = {"name": output, "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": described, "outputs": [wanted]}).encode()
    body = b"".join([head, *(array.tobytes() for array in inputs.values())])
    server.request("POST", f"/v2/models/{model}/infer", body, {LENGTH: str(len(head)), **KEY})
    answer = answered(server)
    (told,) = json.loads(answer.read(int(answer.headers[LENGTH])))["outputs"]
    return np.frombuffer(answer.read(), DTYPES[told["datatype"]]).reshape(told["shape"])


def main(address: str = "127.0.0.1:8000", model: str = "mnist") -> None:
    """Draw inputs, run the model, print the shape."""
    server = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
    server.request("GET", f"/v2/models/{model}", headers=KEY)
    inputs: dict[str, Array] = {}
    for tensor in json.load(answered(server))["inputs"]:
        shape = [SAMPLES, *tensor["shape"][1:]]
        if tensor["datatype"] == "INT64":  # one class a sample
            inputs[tensor["name"]] = np.arange(SAMPLES).reshape(shape)
        else:
            inputs[tensor["name"]] = np.random.default_rng(7).standard_normal(shape, np.float32)
    sys.stdout.write(f"{infer(server, model, inputs, 'pixels').shape}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
