"""Measures selection by the discriminator on items drawn for users, over HTTP.

    python -m benchmarks.experiments.item_selection models/planted-items/1 --out benchmarks/results/item_selection.json

The users' tastes are synthetic, so the items that a user likes are known. For each user the share of liked items and
the number of distinct items are counted: a method that only narrows the choice raises the first and lowers the second.

Shapes: N samples, U users, I items.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from benchmarks.contenders.served import Options, Served
from training import config as configuration
from training.data import PlantedConfig
from training.data.planted import tastes
from training.experiments.results import origin
from training.experiments.studies.mixtures_and_items.irgan_planted import LIKED_SHARE

WAYS: Final[dict[str, Options]] = {
    "as the generator draws": {},
    "best of 2": {"select": {"method": "best-of", "candidates": 2}},
    "best of 8": {"select": {"method": "best-of", "candidates": 8}},
    "rejection, γ = 0": {"select": {"method": "rejection"}},
    "Metropolis–Hastings, 16": {"select": {"method": "metropolis-hastings", "candidates": 16}},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of one way of sampling.

    Attributes:
        way: name of the row.
        options: fields of the requests.
        candidates: mean number generated for each sample.
        liked_share: share of the draws that are among the tenth of all items that their user likes most.
        distinct_items: mean number of different items among a user's draws.
    """

    way: str
    options: Options
    candidates: float
    liked_share: float
    distinct_items: float


def measure(served: Served, way: str, options: Options, draws: int) -> Row:
    """Draw items for every user in one way, and compare them with the users' tastes.

    Args:
        served: a package of planted tastes.
        way: name of the row.
        options: fields of the requests.
        draws: for each user.
    """
    config = configuration.from_tables(served.manifest["provenance"]["config"])
    truth = tastes(cast("PlantedConfig", config.data))  # [U, I]
    liked = truth >= np.quantile(truth, 1 - LIKED_SHARE, axis=1, keepdims=True)
    users = np.tile(np.arange(len(truth)), draws)
    drawn, candidates = served.draw(users, options)
    items = drawn.astype(np.int64, copy=False)
    return Row(
        way=way,
        options=options,
        candidates=candidates,
        liked_share=float(liked[users, items].mean()),
        distinct_items=len(np.unique(users * truth.shape[1] + items)) / len(truth),
    )


def table(rows: list[Row]) -> Iterator[str]:
    """Rows as a Markdown table, line by line."""
    yield "| sampling | liked | different items a user | candidates |"
    yield "| --- | ---: | ---: | ---: |"
    for row in rows:
        yield f"| {row.way} | {row.liked_share:.3f} | {row.distinct_items:.1f} | {row.candidates:.1f} |"


def main() -> None:
    """Measure every way; write the results, and the table."""
    parser = argparse.ArgumentParser(description="Measure selection of items, as served.")
    parser.add_argument("package", type=Path, help="folder of a package of planted tastes")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the service that serves it")
    parser.add_argument("--draws", type=int, default=30, help="for each user in each way")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    asked = parser.parse_args()
    served = Served(asked.package, asked.url, "condition")
    rows = [measure(served, way, options, asked.draws) for way, options in WAYS.items()]
    found = {
        "package": served.name,
        "draws_per_user": asked.draws,
        "origin": origin(),
        "rows": [asdict(row) for row in rows],
    }
    asked.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in table(rows))


if __name__ == "__main__":
    main()
