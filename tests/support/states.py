"""Compares training states bit for bit, and resumes a trainer half way."""

import copy
from collections.abc import Callable

import torch

from training.loop.trainer import Trainer


def same(left: object, right: object) -> bool:
    """Whether two nested states agree bit for bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def whole_and_resumed(make: Callable[[], Trainer], steps: int) -> tuple[Trainer, Trainer]:
    """Two trainers after 2 · `steps` steps: one uninterrupted, one restored half way."""
    whole, first, second = (make() for _ in range(3))
    for _ in range(steps):
        whole.step()
        first.step()
    second.restore(copy.deepcopy(first.checkpoint()["state"]))
    for _ in range(steps):
        whole.step()
        second.step()
    return whole, second
