"""The inference protocol's own clients, unchanged: KServe's Python client and MLServer's codecs.

Both packages are also servers with many dependencies. So a separate program imports only the client parts, from a
folder of unpacked wheels.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.engine.sampling.sampler import latents
from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess

# A folder with kserve, mlserver and, of their dependencies, orjson, pandas, cloudevents (1.x) and deprecation.
CLIENTS = os.environ.get("PROTOCOL_CLIENTS")
LATENTS = latents(np.arange(7, 12, dtype=np.uint64), 16, "standard_normal")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CLIENTS is None, reason="PROTOCOL_CLIENTS names no folder with the packages kserve and mlserver"
    ),
]

# Packages whose `__init__` would import the server.
CLIENT_ONLY = """
import sys, types, json, pathlib
import numpy as np
url, folder, latents = sys.argv[1], pathlib.Path(sys.argv[2]), np.array(json.loads(sys.argv[3]), np.float32)
for name in ("kserve", "mlserver"):
    package = types.ModuleType(name)
    package.__path__ = [str(folder / name)]
    sys.modules[name] = package
"""
KSERVE = """
import asyncio
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput

async def main(binary, outputs):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_ready(url) and await client.is_model_ready(url, "toy")
    given = InferInput("latent", list(latents.shape), "FP32")
    given.set_data_from_numpy(latents, binary_data=binary)
    answer = await client.infer(url, InferRequest("toy", [given], request_outputs=outputs), model_name="toy")
    return {output.name: output.as_numpy().reshape(-1).tolist() for output in answer.outputs}

wanted = [RequestedOutput("sample", parameters={"binary_data": True})]
answers = [asyncio.run(main(binary, outputs)) for binary in (False, True) for outputs in (None, wanted)]
print(json.dumps([answer["sample"] for answer in answers]))
"""
MLSERVER = """
import httpx
from mlserver.codecs import NumpyCodec, NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestOutput

def ask(request, **dump):
    answer = httpx.post(url + "/v2/models/toy/infer", content=request.model_dump_json(**dump), trust_env=False)
    answered = InferenceResponse.model_validate_json(answer.raise_for_status().content)
    return {output.name: NumpyCodec.decode_output(output).reshape(-1).tolist() for output in answered.outputs}

encoded = NumpyRequestCodec.encode_request(latents)
encoded.inputs[0].name = "latent"
given = NumpyCodec.encode_input("latent", latents)
wanted = [RequestOutput(name="sample", parameters=Parameters(content_type="np"))]
answers = [ask(encoded), ask(InferenceRequest(inputs=[given])), ask(InferenceRequest(inputs=[given], outputs=wanted))]
answers.append(ask(InferenceRequest(id="1", inputs=[given], outputs=wanted), exclude_unset=True))
whole = json.loads(InferenceRequest(inputs=[given]).model_dump_json())
whole |= {"id": None, "parameters": None, "outputs": None}
whole["inputs"][0]["parameters"] = {"content_type": "np", "headers": None}
answer = httpx.post(url + "/v2/models/toy/infer", json=whole, trust_env=False)
answered = InferenceResponse.model_validate_json(answer.raise_for_status().content)
answers.append({output.name: NumpyCodec.decode_output(output).reshape(-1).tolist() for output in answered.outputs})
print(json.dumps([answer["sample"] for answer in answers]))
"""


@pytest.mark.parametrize("program", [KSERVE, MLSERVER], ids=["kserve", "mlserver"])
def test_a_client_of_the_protocol_infers_unchanged(service: ServiceProcess, program: str) -> None:
    url = f"http://127.0.0.1:{service.port}"
    with service.client() as http:
        answer = http.post("/v2/models/toy/infer", json={
            "inputs": [{"name": "latent", "shape": list(LATENTS.shape), "datatype": "FP32", "data": LATENTS.tolist()}],
            "outputs": [{"name": "sample"}],
        })  # fmt: skip
    expected = answer.json()["outputs"][0]["data"]
    run = subprocess.run(
        [sys.executable, "-c", CLIENT_ONLY + program, url, str(CLIENTS), json.dumps(LATENTS.tolist())],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(Path(str(CLIENTS)).resolve())}, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for answered in json.loads(run.stdout.splitlines()[-1]):
        assert np.array_equal(np.float32(answered), np.float32(expected))
