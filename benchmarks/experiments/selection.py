r"""Measures truncation and selection by the discriminator on a package's images, over HTTP.

    python -m benchmarks.experiments.selection models/mnist/4 --url http://127.0.0.1:8000 \
        --out benchmarks/results/selection.json

Samples are evaluated as packages are: against the same held-out images, in the features of the same classifier. Every
way of sampling uses the same seeds and labels, one in K of each class.

Shapes: N images, C H W channels, height and width, K classes, F features.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.contenders.served import Options, Served
from training import config as configuration
from training import data as sources
from training.data import ImageData
from training.evaluation import classifier, reference_rows
from training.evaluation.classifier import Classifier
from training.evaluation.distances import Features, frechet_distance, kernel_distance
from training.evaluation.neighbourhoods import Neighbourhoods, compare
from training.experiments.results import origin

WAYS: Final[dict[str, Options]] = {
    "as the generator draws": {},
    "truncation 1.5": {"truncation": 1.5},
    "truncation 1": {"truncation": 1.0},
    "truncation 0.5": {"truncation": 0.5},
    "best of 2": {"select": {"method": "best-of", "candidates": 2}},
    "best of 8": {"select": {"method": "best-of", "candidates": 8}},
    "rejection, γ = −2": {"select": {"method": "rejection", "gamma": -2.0}},
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
        label_accuracy: share of the samples that the classifier assigns to the requested class.
    """

    way: str
    options: Options
    candidates: float
    frechet_distance: float
    kernel_distance: float
    neighbourhoods: Neighbourhoods
    label_accuracy: float


class Bench:
    """A served package and the classifier that evaluates its samples.

    Args:
        data: that the package was trained on.
    """

    def __init__(self, served: Served, data: ImageData) -> None:
        self.classifier: Classifier = classifier.obtain(data)
        self._served = served
        self._classes = len(served.manifest["labels"]["names"])
        self._held_out: Features = self.classifier.extract(data.held_out[reference_rows(data)])[0]

    def measure(self, way: str, options: Options, count: int) -> Row:
        """Draw N samples in one way, and evaluate them."""
        labels = np.arange(count) % self._classes
        images, candidates = self._served.draw(labels, options)
        pixels = np.ascontiguousarray(images.astype(np.uint8, copy=False).transpose(0, 3, 1, 2))
        features, probabilities = self.classifier.extract(pixels)
        return Row(
            way=way,
            options=options,
            candidates=candidates,
            frechet_distance=frechet_distance(features, self._held_out),
            kernel_distance=kernel_distance(features, self._held_out),
            neighbourhoods=compare(features, self._held_out),
            label_accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        )


def table(rows: list[Row]) -> Iterator[str]:
    """Rows as a Markdown table, line by line."""
    yield "| sampling | Fréchet | kernel | precision | recall | density | coverage | class | candidates |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        balls = row.neighbourhoods
        yield (
            f"| {row.way} | {row.frechet_distance:.2f} | {row.kernel_distance:.2f} | {balls.precision:.3f} | "
            f"{balls.recall:.3f} | {balls.density:.3f} | {balls.coverage:.3f} | {row.label_accuracy:.4f} | "
            f"{row.candidates:.1f} |"
        )


def main() -> None:
    """Measure every way; write the results after each, and the table at the end."""
    parser = argparse.ArgumentParser(description="Measure truncation and selection of images, as served.")
    parser.add_argument("package", type=Path, help="folder of a package whose images have classes")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the service that serves it")
    parser.add_argument("--samples", type=int, default=10_000, help="in each way")
    parser.add_argument("--data-path", help="where its data lies now, if it has moved")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    asked = parser.parse_args()
    served = Served(asked.package, asked.url, "labels")
    config = configuration.from_tables(served.manifest["provenance"]["config"])
    data = sources.load((configuration.with_data_path(config, asked.data_path) if asked.data_path else config).data)
    if not isinstance(data, ImageData) or "labels" not in served.manifest:
        parser.error(f"{served.name} does not draw images of classes")
    bench = Bench(served, data)
    rows: list[Row] = []
    for way, options in WAYS.items():
        rows.append(bench.measure(way, options, asked.samples))
        found = {
            "package": served.name,
            "samples": asked.samples,
            "classifier_sha256": bench.classifier.sha256,
            "origin": origin(),
            "rows": [asdict(row) for row in rows],
        }
        asked.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in table(rows))


if __name__ == "__main__":
    main()
