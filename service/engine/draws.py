"""What requests leave to be drawn from their seeds, drawn for a whole batch at once.

    request ─▶ Draw(recipe, its seeds, where the rows go) ─┐
    request ─▶ Draw(…) ────────────────────────────────────┼─▶ one drawing for each recipe ─▶ each request's rows
    request ─▶ Draw(…) ────────────────────────────────────┘

NumPy asks a fixed price for every operation, which for one seed is most of the price; of sixty-four callers with a
seed each it is paid once. It changes no number, because a row depends on its own seed and nothing else. What is drawn
(latents, labels, codes) and where it goes are the recipes' and the requests' business.

Shapes: n seeds of one request.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from service.engine.philox import Seeds
from service.engine.runners import Array


class Recipe(Protocol):
    """How seeds become rows: hashable, so that what is equal shares a drawing."""

    def __hash__(self) -> int: ...

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> Array:
        """Rows [N, …] of seeds [N]; row i depends on `seeds[i]` and `candidates[i]` alone."""
        ...


class Draw(NamedTuple):
    """Rows that one request needs.

    Attributes:
        recipe: what they are.
        seeds: [n].
        candidates: [n], which candidate of its seed each is; None is the first, 0, of all.
        take: is given the rows [n, …], a view that it does not keep.
    """

    recipe: Recipe
    seeds: Seeds
    candidates: Seeds | None
    take: Callable[[Array], None]


def draw_together(draws: Sequence[Draw]) -> None:
    """Draw what several requests need, and give each its rows."""
    groups: dict[tuple[Recipe, bool], list[Draw]] = {}
    for draw in draws:
        key = draw.recipe, draw.candidates is None
        group = groups.get(key)
        if group is None:
            groups[key] = [draw]
        else:
            group.append(draw)
    for (recipe, _), group in groups.items():
        _draw_group(recipe, group)


def _draw_group(recipe: Recipe, group: Sequence[Draw]) -> None:
    if len(group) == 1:
        (draw,) = group
        draw.take(recipe.draw(draw.seeds, draw.candidates))
        return
    candidates = [draw.candidates for draw in group if draw.candidates is not None]
    rows = recipe.draw(
        np.concatenate([draw.seeds for draw in group]), np.concatenate(candidates) if candidates else None
    )
    start = 0
    for draw in group:
        stop = start + len(draw.seeds)
        draw.take(rows[start:stop])
        start = stop
