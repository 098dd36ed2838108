"""Client that draws a package's samples over HTTP and counts the candidates generated for them.

The count is read from the service's metrics, so other clients must not use the package at the same time.

Shapes: N samples.
"""

import io
import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

Options = dict[str, object]

# Seeds of one request: with 64 candidates each they are below the service's limit of candidates.
REQUEST_SEEDS: Final = 500
# A stream from a busy machine may take minutes.
TIMEOUT_S: Final = 600.0


class Served:
    """A served package.

    Args:
        package: its folder on this machine.
        url: of the service.
        beside: the request's field of per-sample conditioning, `labels` or `condition`.

    Attributes:
        manifest: of the package.
    """

    def __init__(self, package: Path, url: str, beside: str) -> None:
        self.manifest: dict[str, Any] = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._beside = beside

    @property
    def name(self) -> str:
        """`NAME/VERSION`."""
        return f"{self.manifest['name']}/{self.manifest['version']}"

    def draw(self, told: NDArray[np.int64], options: Options) -> tuple[NDArray[np.generic], float]:
        """Draw the samples of seeds 0 … N − 1.

        Args:
            told: [N], label or condition of each sample.
            options: further fields of the requests.

        Returns:
            Samples [N, …] as in NPY, and the mean number of candidates generated for each.
        """
        before = self._generated()
        starts = range(0, len(told), REQUEST_SEEDS)
        parts = [self._part(start, told[start : start + REQUEST_SEEDS], options) for start in starts]
        return np.concatenate(parts), (self._generated() - before) / len(told)

    def _part(self, start: int, told: NDArray[np.int64], options: Options) -> NDArray[np.generic]:
        body: Options = {
            "model": self.manifest["name"],
            "version": self.manifest["version"],
            "seeds": list(range(start, start + len(told))),
            self._beside: told.tolist(),
        }
        answer = self._client.post("/generate", params={"format": "npy"}, json=body | options)
        answer.raise_for_status()
        samples: NDArray[np.generic] = np.load(io.BytesIO(answer.content), allow_pickle=False)
        return samples

    def _generated(self) -> float:
        """Samples that the service's generator has computed so far."""
        model = re.escape(self.manifest["name"])
        counter = rf'^ganymede_samples_total{{graph="generator",model="{model}"}} (\S+)$'
        found = re.search(counter, self._client.get("/metrics").text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0
