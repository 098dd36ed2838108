"""Runs a package's generator with ONNX Runtime or OpenVINO in this process, without a server.

Shapes: B batch, Z latent, H W C height, width and channels.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Backend = Literal["onnxruntime", "openvino", "openvino-bf16"]
Inputs = Mapping[str, NDArray[np.generic]]
# Inputs to uint8 [B, H, W, C]; one thread at a time.
Run = Callable[[Inputs], NDArray[np.uint8]]

BACKENDS: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino", "openvino-bf16")
ERRORS_ONLY = 3  # ONNX Runtime's severity; warnings report every device that this machine does not have
CLASSES = 10  # of the shipped conditional package
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
# The same as in the service: no TF32, and no search for the convolution plan of a new batch size.
CUDA_OPTIONS: Final[Mapping[str, str]] = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "fuse_conv_bias": "0",
    "prefer_nhwc": "0",
}


def open_session(
    model: bytes | str,
    threads: int,
    provider: str = CPU,
    device_options: Mapping[str, str] = CUDA_OPTIONS,
    entries: Mapping[str, str] | None = None,
) -> ort.InferenceSession:
    """Make a session.

    Args:
        model: the serialized graph, or its path.
        threads: intra-op threads on the CPU.
        provider: ONNX Runtime's name.
        device_options: of the CUDA provider.
        entries: additional session configuration entries.

    Returns:
        A session whose threads do not spin, because spinning threads take the core that the server needs. A session on
        CUDA raises where CUDA fails: ONNX Runtime's fallback to the CPU is disabled.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for name, value in (entries or {}).items():
        options.add_session_config_entry(name, value)
    providers: list[Any] = [CPU] if provider == CPU else [(provider, dict(device_options)), CPU]
    return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)


def runners(model: str, threads: int, count: int, backend: Backend = "onnxruntime") -> list[Run]:
    """Make runners for concurrent use, each by one thread.

    Args:
        model: path of the graph.
        threads: intra-op threads of one run.
        count: number of runners; they share one session, which ONNX Runtime's CPU provider allows.
        backend: library and precision.
    """
    if backend != "onnxruntime":
        return _openvino_runners(model, threads, count, backend)
    session = open_session(model, threads)

    def run(inputs: Inputs) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = session.run(["pixels"], dict(inputs))[0]
        return pixels

    return [run] * count


def inputs_of(model: str, batch: int) -> dict[str, NDArray[np.generic]]:
    """Fixed inputs [B, …] for a package's generator."""
    rng = np.random.default_rng(0)
    names = {tensor.name: tensor.shape for tensor in open_session(model, 1).get_inputs()}
    inputs: dict[str, NDArray[np.generic]] = {
        "latent": rng.standard_normal((batch, names["latent"][1])).astype(np.float32)
    }
    if "label" in names:
        inputs["label"] = np.arange(batch) % CLASSES
    return inputs


def _openvino_runners(model: str, threads: int, count: int, backend: Backend) -> list[Run]:
    import openvino  # noqa: PLC0415 - an optional extra

    options = {
        "INFERENCE_NUM_THREADS": threads * count,
        "NUM_STREAMS": count,
        "INFERENCE_PRECISION_HINT": "bf16" if backend == "openvino-bf16" else "f32",
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    place = [output.get_any_name() for output in compiled.outputs].index("pixels")

    def runner() -> Run:
        request = compiled.create_infer_request()

        def run(inputs: Inputs) -> NDArray[np.uint8]:
            request.infer(dict(inputs))
            pixels: NDArray[np.uint8] = request.get_output_tensor(place).data
            return pixels

        return run

    return [runner() for _ in range(count)]
