"""The stages `train-speed` and `graph-train`: samples a second of the trainer's step and of other people's loops.

All loops compute on the same device, and the clock is read when it has done its work. Launches, copies and the lines
that wait for the device are counted, since a step of small networks is made of little else. `graph-train` compares the
step as it is with the one that is captured as a CUDA graph, where the trainer has such a step.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import torch

from benchmarks.device import optional
from benchmarks.device.stage import Device, Notes, elsewhere, median
from benchmarks.experiments import training
from benchmarks.experiments.training import CONFIG, Game, Step, game, synchronise
from training.config import Config
from training.loop.trainer import Trainer

OTHERS: Final = ("r3gan-mnist", "infogan-mnist", "wgan-gp-digits", "ada-digits")
OURS: Final = "ganymede"
TUTORIAL: Final = "DCGAN's tutorial"
PROFILED_STEPS: Final = 3
# How the profiler's names of what the host asks of the device begin.
ASKED: Final = {
    "launches": ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch"),
    "copies": ("cudaMemcpy",),
    "waits": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
}
CAPTURED: Final = "captured"
USUAL_BATCH: Final = 64


def measure_train_speed(notes: Notes) -> None:
    """Race the loops, at several batch sizes, precisions and layouts."""
    terms = notes.terms
    if optional.ABSENT:
        notes.say(f"stand-ins for {', '.join(optional.ABSENT)}")
    batches = terms.pick((USUAL_BATCH, 256, 1024), (4,))
    notes.attempt("fp32", _race, notes, batches, "fp32")
    rows = notes.rows("speed")
    rates = {name: _rate(rows, name, batches[0], "fp32") for name in training.LOOPS}
    if rates[TUTORIAL]:
        notes.figure("ours_of_tutorial", rates[OURS] / rates[TUTORIAL])
        told = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
        notes.say(f"{CONFIG}, {batches[0]} samples a step, samples/s: {told}")
    for config in terms.pick(OTHERS, OTHERS[2:]):
        notes.attempt(config, _others, notes, config, batches[0])
    for layout in terms.pick(tuple(LAYOUTS), ("both",)):
        notes.attempt(f"layout {layout}", _layout, notes, layout, batches[0])
    for config in terms.pick((CONFIG, *OTHERS), (CONFIG,)):
        notes.attempt(f"{config}: profile", _profile, notes, config, batches[0])
    # A process has one precision.
    for precision in terms.pick(("tf32", "bf16"), ("bf16",)):
        found = notes.attempt(precision, elsewhere, speed_of, {}, precision, batches, _length(notes))
        for row in found or []:
            notes.row("speed", **row)
        told = ", ".join(f"{batch}: {_rate(notes.rows('speed'), OURS, batch, precision):,.0f}" for batch in batches)
        notes.say(f"{CONFIG} in {precision}, samples/s of ours by batch: {told}")


def _length(notes: Notes) -> tuple[int, int]:
    """Rounds, and steps of each."""
    return notes.terms.pick((3, 50), (1, 1))


def _race(notes: Notes, batches: tuple[int, ...], precision: str) -> None:
    for batch in batches:
        rounds, steps = _length(notes)
        for row in training.measure(rounds, steps, _game(CONFIG, batch, precision)):
            notes.row("speed", batch=batch, precision=precision, layout="as shipped", **row)


def _others(notes: Notes, config: str, batch: int) -> None:
    rounds, steps = _length(notes)
    for row in training.measure(rounds, steps, _game(config, batch, "fp32"), {OURS: training.ours}):
        notes.row("speed", batch=batch, precision="fp32", layout="as shipped", **row)
    notes.say(f"{config}, {batch} samples a step: {_rate(notes.rows('speed'), OURS, batch, 'fp32', config):,.0f}")


def speed_of(precision: str, batches: tuple[int, ...], length: tuple[int, int]) -> list[dict[str, object]]:
    """Rows of our step alone, in a precision of its own."""
    return [
        {"batch": batch, "precision": precision, "layout": "as shipped", **row}
        for batch in batches
        for row in training.measure(*length, _game(CONFIG, batch, precision), {OURS: training.ours})
    ]


def _game(config: str, batch: int, precision: str, **keys: object) -> Game:
    played = game(config, batch)
    named = {"tf32": precision == "tf32", "precision": "bf16" if precision == "bf16" else "fp32", **keys}
    return replace(played, config=with_keys(played.config, named))


def with_keys(config: Config, named: Mapping[str, Any]) -> Config:
    """A configuration with other values in its `[trainer]`."""
    return replace(config, trainer=replace(config.trainer, **named))


def _rate(rows: list[dict[str, object]], loop: str, batch: int, precision: str, config: str = CONFIG) -> float:
    """The median of a loop's rounds; 0 where there are none."""
    wanted = {"loop": loop, "batch": batch, "precision": precision, "config": config, "layout": "as shipped"}
    found = [row["samples_per_s"] for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return median([float(str(rate)) for rate in found]) if found else 0.0


# Layout → memory format of the generator and of the discriminator.
LAYOUTS: Final = {
    "none": (torch.contiguous_format, torch.contiguous_format),
    "generator": (torch.channels_last, torch.contiguous_format),
    "both": (torch.channels_last, torch.channels_last),
}


def _layout(notes: Notes, layout: str, batch: int) -> None:
    def begin(played: Game) -> Step:
        trainer = Trainer(played.config, played.data)
        sides = trainer.players.generator, trainer.players.discriminator
        for side, form in zip(sides, LAYOUTS[layout], strict=True):
            side.to(memory_format=form)  # type: ignore[call-overload]  # not in the stubs
        return trainer.step

    rounds, steps = _length(notes)
    rates = []
    for row in training.measure(rounds, steps, _game(CONFIG, batch, "fp32"), {OURS: begin}):
        notes.row("speed", batch=batch, precision="fp32", layout=f"channels last: {layout}", **row)
        rates.append(float(row["samples_per_s"] or 0))
    notes.say(f"channels last {layout}: {median(rates):,.0f} samples/s")


def _profile(notes: Notes, config: str, batch: int) -> None:
    """What a step asks of the device, and the lines that wait for it."""
    played = _game(config, batch, "fp32")
    step = training.ours(played)
    for _ in range(training.WARM_UP_STEPS):
        step()
    synchronise(played.device)
    is_card = played.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    activities += [torch.profiler.ProfilerActivity.CUDA] if is_card else []
    with torch.profiler.profile(activities=activities) as profiled:
        for _ in range(PROFILED_STEPS):
            step()
        synchronise(played.device)
    asked = {event.key: event.count / PROFILED_STEPS for event in profiled.key_averages()}
    operators = sum(count for name, count in asked.items() if name.startswith("aten::"))
    counted = {
        what: sum(count for name, count in asked.items() if name.startswith(beginnings))
        for what, beginnings in (ASKED if is_card else {}).items()
    }
    waits = waiting_lines(step) if is_card else {}
    if not is_card:
        notes.skip("launches, copies and waits of a step", "no CUDA device")
    notes.row("profile", config=config, batch=batch, operators=operators, **counted, lines=waits)
    told = [f"{count:.0f} {what}" for what, count in counted.items()]
    notes.say(f"{config}: {', '.join([f'{operators:.0f} operators a step', *told, f'{len(waits)} lines wait'])}")


def waiting_lines(step: Callable[[], object]) -> dict[str, int]:
    """Lines that make the host wait for the device in a step, as torch warns of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return dict(Counter(f"{warning.filename}:{warning.lineno}" for warning in caught))


def measure_graph_train(notes: Notes) -> None:
    """The step that is captured as a CUDA graph, against the one that is not, and against the tutorial's loop."""
    terms = notes.terms
    for batch in terms.pick((USUAL_BATCH, 1024), (4,)):
        notes.attempt(f"batch {batch}", _captured, notes, batch)
    rates = {
        loop: _rate(notes.rows("speed"), loop, terms.pick(USUAL_BATCH, 4), "fp32")
        for loop in (CAPTURED, OURS, TUTORIAL)
    }
    if all(rates.values()):
        notes.figure("captured_of_tutorial", rates[CAPTURED] / rates[TUTORIAL])
        notes.say(", ".join(f"{loop} {rate:,.0f} samples/s" for loop, rate in rates.items()))
    # Determinism is chosen before a process has used the device.
    steps = terms.pick(50, 2)
    apart = notes.attempt("weights", elsewhere, difference, {}, terms.pick(USUAL_BATCH, 4), steps, terms.device)
    notes.row("weights", steps=steps, largest_difference=apart)
    notes.say(f"largest difference of a weight after {steps} steps: {apart}")


def _trainer(played: Game, device: Device, *, captured: bool) -> Trainer:
    """A trainer whose steps are captured, or not; on a CPU it runs what would be captured."""
    keys = {"cuda_graph": True} if captured else {}
    return Trainer(with_keys(played.config, keys), played.data, rehearse=captured and device == "cpu")


def _captured(notes: Notes, batch: int) -> None:
    rounds, steps = _length(notes)
    loops = {
        OURS: training.ours,
        TUTORIAL: training.tutorial,
        CAPTURED: lambda played: _trainer(played, notes.terms.device, captured=True).step,
    }
    for row in training.measure(rounds, steps, _game(CONFIG, batch, "fp32"), loops):
        notes.row("speed", batch=batch, precision="fp32", layout="as shipped", **row)


def difference(batch: int, steps: int, device: Device) -> float:
    """The largest difference of an averaged weight after some steps of both kinds."""
    played = _game(CONFIG, batch, "fp32", deterministic=True)
    weights = []
    for captured in (False, True):
        trainer = _trainer(played, device, captured=captured)
        for _ in range(steps):
            trainer.step()
        weights.append([parameter.detach().double().cpu() for parameter in trainer.ema.parameters()])
    return max(float((left - right).abs().max()) for left, right in zip(*weights, strict=True))
