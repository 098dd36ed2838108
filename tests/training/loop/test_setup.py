"""What a trainer computes with: a precision that the objective's terms survive."""

import pytest
import torch

from tests.support import small
from training.errors import ConfigError
from training.loop.setup import check_penalties
from training.objectives.penalties import squared_gradient
from training.tables import Value

PENALISED: list[dict[str, Value]] = [
    {"kind": "non_saturating", "gamma_r1": 0.5},
    {"kind": "hinge", "gamma_r2": 0.5},
    {"kind": "wasserstein_gp"},
]


@pytest.mark.parametrize("objective", PENALISED, ids=["r1", "r2", "slope"])
def test_fp16_is_refused_with_a_gradient_penalty_and_bf16_is_not(objective: dict[str, Value]) -> None:
    with pytest.raises(ConfigError, match=r"^\[trainer\] precision fp16 loses the gradients that gamma_\w+ of \[obj"):
        check_penalties(small.config(objective=objective, trainer={"precision": "fp16"}))
    check_penalties(small.config(objective=objective, trainer={"precision": "bf16"}))


def test_fp16_is_taken_without_penalties() -> None:
    check_penalties(small.config(objective={"kind": "hinge"}, trainer={"precision": "fp16"}))


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float16, False), (torch.bfloat16, True)])
def test_a_penalty_vanishes_in_fp16_where_bf16_keeps_it(dtype: torch.dtype, *, kept: bool) -> None:
    samples = torch.ones(4, 8, requires_grad=True)
    weight = torch.full((8,), 1e-4)

    def judged(values: torch.Tensor) -> torch.Tensor:
        """Two layers in half precision, whose slopes multiply to 10^-8."""
        return ((values.to(dtype) @ weight.to(dtype)) * 1e-4).float()

    assert bool(squared_gradient(judged(samples), samples) > 0) == kept
