"""Sets up what a trainer computes with: device and processes, optimizers, the global random generators."""

import os
import random
from typing import Any, Final, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.config import Config
from training.errors import ConfigError
from training.schedule import TrainerConfig

PENALTIES: Final = ("gamma_r1", "gamma_r2", "gamma_slope")  # weights of terms that differentiate by the samples
LEGACY_SEED_RANGE: Final = 2**32  # of NumPy's global generator


def build_accelerator(config: Config) -> Accelerator:
    """Find the device and the processes of a run.

    Args:
        config: whose precision and batch size have to fit them.

    Raises:
        ConfigError: if the precision does not exist on this machine or does not fit the objective, or the batch does
            not divide by the processes.
    """
    precision = config.trainer.precision
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # Accelerate joins processes on a CPU only if `cpu` is set; otherwise each would train by itself.
    joined_on_cpu = launched > 1 and not torch.accelerator.is_available()
    try:
        shared = Accelerator(mixed_precision="no" if precision == "fp32" else precision, cpu=joined_on_cpu)
    except ValueError as error:
        raise ConfigError(f"[trainer] precision {precision} is not available here: {error}") from error
    if precision == "fp16" and shared.scaler is None:  # Accelerate would silently compute in fp32
        raise ConfigError("[trainer] precision fp16 needs a GPU; bf16 works on a CPU as well")
    check_penalties(config)
    if shared.num_processes != launched:
        raise ConfigError(
            f"{launched} processes were started and {shared.num_processes} of them share the training; start them "
            f"with `torchrun --nproc_per_node {launched} -m training train …`"
        )
    if config.trainer.batch_size % shared.num_processes:
        raise ConfigError(
            f"[trainer] batch_size {config.trainer.batch_size} does not divide by {shared.num_processes} processes"
        )
    parts, pack = config.trainer.accumulate, config.discriminator.pack
    if config.trainer.batch_size % (shared.num_processes * parts * pack):
        raise ConfigError(
            f"[trainer] batch_size {config.trainer.batch_size} does not divide into accumulate = {parts} parts"
            + (f" on each of {shared.num_processes} processes" if shared.num_processes > 1 else "")
            + (f" of whole packs of {pack}" if pack > 1 else "")
        )
    return shared


def check_penalties(config: Config) -> None:
    """Refuse gradient penalties in fp16.

    The loss scale protects the second of their two derivatives only. Scaling the first one as well would make a penalty
    infinite in each step that the scaler skips, which is how it finds the scale; bf16 needs none.

    Raises:
        ConfigError: if the objective has a penalty and the precision is fp16.
    """
    weights = [name for name in PENALTIES if getattr(config.objective, name, 0) > 0]
    if config.trainer.precision == "fp16" and weights:
        raise ConfigError(
            f"[trainer] precision fp16 loses the gradients that {' and '.join(weights)} of [objective] penalise, which "
            "are too small for it; bf16 keeps them"
        )


def part_of_batch(batch_size: int, process: int, processes: int) -> slice:
    """Select the samples of each batch that a process works on."""
    size = batch_size // processes
    return slice(process * size, (process + 1) * size)


def build_optimizer(
    side: nn.Module, learning_rate: float, weight_decay: float, pace: TrainerConfig, lazy: float = 1.0
) -> torch.optim.Optimizer:
    """Make the optimizer of a side.

    Args:
        weight_decay: decoupled; 0 for RMSprop.
        lazy: exponent of the moments' decay, from `lazy_correction`.

    Raises:
        ConfigError: for weight decay with RMSprop.
    """
    if pace.optimizer == "rmsprop":
        if weight_decay:
            raise ConfigError('[trainer] weight decay is Adam\'s; it needs optimizer = "adam"')
        if pace.beta2_start != "constant":
            raise ConfigError('[trainer] beta2_start is Adam\'s; it needs optimizer = "adam"')
        return torch.optim.RMSprop(side.parameters(), lr=learning_rate, alpha=pace.beta2**lazy)
    betas = (pace.beta1**lazy, pace.beta2**lazy)
    return torch.optim.Adam(
        side.parameters(),
        lr=learning_rate,
        betas=betas,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,  # AdamW's: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019)
        fused=True,
    )


def seed_global_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % LEGACY_SEED_RANGE)  # noqa: NPY002 - the global generator is what others may use
    torch.manual_seed(seed)


def global_generators() -> dict[str, object]:
    """Return the states of the global generators as plain values and tensors."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - see above
    words = numpy["state"]["key"]  # unsigned integers are not supported in torch's files
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": torch.from_numpy(words.astype(np.int64))}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_global_generators(states: dict[str, object]) -> None:
    """Restore states that `global_generators` returned; CUDA's only on a machine with as many devices."""
    numpy = cast("dict[str, Any]", states["numpy"])
    words = numpy["state"]["key"].numpy().astype(np.uint32)
    random.setstate(cast("tuple[object, ...]", states["python"]))
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": words}})  # noqa: NPY002 - see above
    torch.set_rng_state(cast("Tensor", states["torch"]))
    cuda = cast("list[Tensor]", states["cuda"])
    if len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
