"""The stages `resume` and `probe`: whether a run that was interrupted ends with the same bits, and what a probe costs.

so many steps ──▶ bits          half ──▶ checkpoint ──▶ a new trainer ──▶ half ──▶ the same bits?
so many steps ──▶ the same?     each without and with `[trainer] deterministic`
"""

import copy
import hashlib
import io
import math
import time
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from benchmarks.device import optional
from benchmarks.device.stage import Notes, elsewhere, fresh_process, median, timed
from benchmarks.device.train_speed import with_keys
from benchmarks.experiments.training import CONFIG, WARM_UP_STEPS, Game, game, synchronise
from training.diagnostics.monitor import Monitor
from training.loop.trainer import Trainer

# A step of each kind: penalties, codes and warps, several critic steps, ADA, DiffAugment, an encoder, none of them.
CONFIGS: Final = (
    CONFIG, "infogan-mnist", "wgan-gp-digits", "ada-digits", "diffaugment-digits", "bigan-digits", "dcgan-digits",
)  # fmt: skip
REHEARSED: Final = ("wgan-gp-digits", "ada-digits")
WITHOUT_PENALTIES: Final = "dcgan-digits"  # fp16 is refused with them
FEW_SCALES: Final = 4  # steps, after which fp16's scale has been tried


def measure_resume(notes: Notes) -> None:
    """Repeat and resume runs of each kind of step."""
    terms = notes.terms
    half, batch = terms.pick(20, 1), terms.pick(64, 8)
    inexact: list[str] = []
    seconds: dict[tuple[str, bool], float] = {}
    if optional.ABSENT:
        notes.say(f"stand-ins for {', '.join(optional.ABSENT)}")
    for deterministic in (False, True):
        # Determinism is chosen before a process has used the device.
        with fresh_process({}) as process:
            for config in terms.pick(CONFIGS, REHEARSED):
                part = f"{config}, {'deterministic' if deterministic else 'as shipped'}"
                asked = process.submit(repeat_and_resume, config, batch, half, deterministic=deterministic)
                found = notes.attempt(part, asked.result)
                repeats, resumes, step_s = found or (False, False, math.nan)
                exact = repeats and resumes
                seconds[config, deterministic] = step_s
                notes.row(
                    "resume", config=config, deterministic=deterministic, repeats=repeats, resumes=resumes,
                    step_s=step_s,
                )  # fmt: skip
                if not exact:
                    inexact += [config] if deterministic else []
                    notes.say(f"{part}: repeats {repeats}, resumes {resumes}")
    notes.figure("inexact", len(inexact))
    notes.say(f"deterministic and not exact: {', '.join(inexact) or 'none'}")
    slower = [
        f"{config} × {step_s / seconds[config, False]:.2f}" for (config, chosen), step_s in seconds.items() if chosen
    ]
    notes.say(f"time of a deterministic step: {', '.join(slower)}")
    if terms.device == "cpu":
        notes.skip("fp16's scale", "no CUDA device")
        return
    kept = notes.attempt("fp16's scale", elsewhere, scale_is_kept, {})
    notes.row("scale", kept=kept)
    notes.say(f"fp16's scale survives a resume: {kept}")


def repeat_and_resume(config: str, batch: int, half: int, *, deterministic: bool) -> tuple[bool, bool, float]:
    """Run twice, and once in halves.

    Args:
        config: a shipped one.
        batch: samples a step.
        half: steps.
        deterministic: the trainer's key.

    Returns:
        Whether the second run ended with the bits of the first, whether the halves did, and seconds a step.
    """
    played = game(config, batch)
    played = replace(played, config=with_keys(played.config, {"deterministic": deterministic}))
    # One after the other: steps of WGAN-GP draw from torch's global generator.
    first = _run(played, half)
    before_s = time.perf_counter()
    _advance(first, half)
    step_s = (time.perf_counter() - before_s) / half
    bits = digest(first)
    return digest(_run(played, 2 * half)) == bits, digest(_resumed(played, half)) == bits, step_s


def _run(played: Game, steps: int) -> Trainer:
    trainer = Trainer(played.config, played.data)
    _advance(trainer, steps)
    return trainer


def _advance(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()
    synchronise(trainer.device)


def _resumed(played: Game, half: int) -> Trainer:
    """A new trainer that has read the file of one that ran the first half."""
    before = _run(played, half)
    file = io.BytesIO()
    torch.save(before.checkpoint(), file)
    file.seek(0)
    trainer = Trainer(played.config, played.data)
    trainer.restore(torch.load(file, map_location="cpu", weights_only=True)["state"])
    _advance(trainer, half)
    return trainer


def digest(trainer: Trainer) -> str:
    """Hash every weight, buffer and moment of a run."""
    state = trainer.checkpoint()["state"]
    whole = hashlib.sha256()
    for part in ("generator_side", "critic_side", "ema", "generator_optimizer", "critic_optimizer", "augmentation"):
        _update(whole, state[part])
    return whole.hexdigest()


def _update(whole: "hashlib._Hash", value: object) -> None:
    if isinstance(value, Tensor):
        whole.update(value.detach().cpu().contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key, part in value.items():
            whole.update(str(key).encode())
            _update(whole, part)
    elif isinstance(value, list | tuple):
        for part in value:
            _update(whole, part)
    else:
        whole.update(repr(value).encode())


def scale_is_kept() -> bool:
    """Whether the loss scale of fp16 is that of the checkpoint after a resume."""
    played = game(WITHOUT_PENALTIES)
    played = replace(played, config=with_keys(played.config, {"precision": "fp16"}))
    before = _run(played, FEW_SCALES)
    state = before.checkpoint()["state"]
    after = Trainer(played.config, played.data)
    after.restore(copy.deepcopy(state))
    return bool(state["scaler"]) and after.checkpoint()["state"]["scaler"] == state["scaler"]


def measure_probe(notes: Notes) -> None:
    """A measurement of the run, against the hundred steps between two of them."""
    terms = notes.terms
    played = game(CONFIG, terms.pick(64, 4))
    diagnostics = replace(played.config.diagnostics, classifier=False)
    if terms.rehearse:
        diagnostics = replace(diagnostics, probe_samples=64)
    played = replace(played, config=replace(played.config, diagnostics=diagnostics))
    trainer = Trainer(played.config, played.data)
    monitor = Monitor(played.config, played.data, trainer.task, trainer.device)

    def step() -> None:
        trainer.step()
        synchronise(played.device)

    timed(step, WARM_UP_STEPS)
    step_s = median(timed(step, terms.pick(50, 2)))
    settle = lambda: synchronise(played.device)  # noqa: E731
    probe_s = median(timed(lambda: monitor.measure(trainer.players, trainer.ema), terms.pick(5, 2), settle))
    share = probe_s / (probe_s + diagnostics.every_samples / played.config.trainer.batch_size * step_s)
    notes.row("probe", probe_s=probe_s, step_s=step_s, samples=diagnostics.probe_samples, share=share)
    notes.figure("probe_share", share)
    notes.say(f"a probe {1e3 * probe_s:.0f} ms, a step {1e3 * step_s:.2f} ms: {100 * share:.0f} % of a run")
