"""A runtime by itself: a generator as a careful user of the library would run it, and nothing around it.

It stands alone because the ceiling, the bare latency, the golden vectors and the check of the peers' answers all mean
this same thing. It knows the fixed tensor names of a package's generator and no server.

Shapes: B batch, Z latent, H W C height, width and channels.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Backend = Literal["onnxruntime", "openvino", "openvino-bf16"]
Inputs = Mapping[str, NDArray[np.generic]]
# One input to uint8 [B, H, W, C]. Belongs to one thread at a time.
Run = Callable[[Inputs], NDArray[np.uint8]]

BACKENDS: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino", "openvino-bf16")
ERRORS_ONLY = 3  # ONNX Runtime's severity; below it, it reports every device that this machine does not have
CLASSES = 10  # of the shipped conditional package
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
# As the service runs its graphs: fp32 is fp32, and the plan of a new batch size is not searched for.
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
        threads: that one run may use, on the CPU.
        provider: ONNX Runtime's name.
        device_options: of the CUDA provider.
        entries: of the session's configuration, beside those that every session has.

    Returns:
        A session whose threads do not spin: beside a server, spinning threads take the core that it needs. A session on
        CUDA fails where CUDA fails; none is replaced by one on the CPU unseen.
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
    """Make runners that may run at the same time, each on a thread of its own.

    Args:
        model: path of the graph.
        threads: that one run may use.
        count: how many; they share one session, which ONNX Runtime's CPU provider allows.
        backend: which library, at which precision.
    """
    if backend != "onnxruntime":
        return _openvino_runners(model, threads, count, backend)
    session = open_session(model, threads)

    def run(inputs: Inputs) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = session.run(["pixels"], dict(inputs))[0]
        return pixels

    return [run] * count


def inputs_of(model: str, batch: int) -> dict[str, NDArray[np.generic]]:
    """Inputs [B, …] for a package's generator, always the same."""
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
