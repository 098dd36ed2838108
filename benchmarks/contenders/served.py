"""A package as a service answers for it: arrays of samples over HTTP, and what they cost.

It stands alone because every measurement of served samples needs it, and it knows none of them. What samples cost is
read from the service's own counter, so nobody else should ask for the package meanwhile.

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

# Seeds of one request: with 64 candidates each they are fewer than a service draws for one.
REQUEST_SEEDS: Final = 500
# For a stream from a busy machine.
TIMEOUT_S: Final = 600.0


class Served:
    """A package that a service has.

    Args:
        package: its folder, here.
        url: of the service.
        beside: name of the request's field that says what each sample is for, `labels` or `condition`.

    Attributes:
        manifest: what the package says of itself.
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
        """Ask for the samples of seeds 0 … N − 1.

        Args:
            told: [N], what each sample is for.
            options: what the requests say besides.

        Returns:
            Samples [N, …] as NPY has them, and how many the generator made for each, on average.
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
        """How many samples the service's generator has made."""
        model = re.escape(self.manifest["name"])
        counter = rf'^ganymede_samples_total{{graph="generator",model="{model}"}} (\S+)$'
        found = re.search(counter, self._client.get("/metrics").text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0
