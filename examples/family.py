"""Ask each shipped package for what its system is known for, using only the standard library and NumPy.

    python examples/family.py [127.0.0.1:8000] [--images FOLDER]

It prints what the service answers, a paragraph for each package, and writes the images where a folder is given.
"""

import argparse
import base64
import http.client
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 16
# Of a service that asks for keys.
KEY = {"x-api-key": os.environ["API_KEY"]} if "API_KEY" in os.environ else {}
DIGITS = 10
USER = 42
WITHIN = 0.01  # of a real point: the standard deviation of a mode of the ring


class Service:
    """The service at an address; what it refuses ends the program with its reason."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))

    def post(self, path: str, **fields: object) -> Any:  # noqa: ANN401  (JSON)
        """Post JSON; returns the JSON of the answer."""
        return json.loads(self._ask("POST", path, json.dumps(fields)))

    def get(self, path: str) -> bytes:
        """Get a resource; returns its bytes."""
        return self._ask("GET", path, None)

    def draw(self, model: str, **fields: object) -> list[dict[str, Any]]:
        """Draw samples of a package with their realness; returns what JSON has of each."""
        samples: list[dict[str, Any]] = self.post("/generate", model=model, scores=True, **fields)["samples"]
        return samples

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        headers = {"content-type": "application/json"} if body else {}
        self.connection.request(method, path, body, headers | KEY)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"{path}: {json.loads(content)['detail']}")
        return content


def images(samples: list[dict[str, Any]]) -> list[str]:
    """Their images, data URIs as `/score` and `/encode` take them."""
    return [sample["image"] for sample in samples]


def realness(samples: list[dict[str, Any]]) -> str:
    """The calibrated probabilities that samples are real, from the least to the greatest."""
    found = [sample["realness"] for sample in samples]
    return f"{min(found):.2f} to {max(found):.2f}"


def dcgan(service: Service) -> tuple[str, list[str]]:
    """DCGAN draws; each sample comes with the probability that it is real."""
    drawn = service.draw("dcgan-mnist", n=SAMPLES, seed=7)
    return f"{SAMPLES} digits from seed 7 on, each real with a probability of {realness(drawn)}.", images(drawn)


def wgan(service: Service) -> tuple[str, list[str]]:
    """A critic's output has no unit; its calibration gives it one."""
    drawn = service.draw("wgan-gp-mnist", n=SAMPLES, seed=7)
    scores = service.post("/score", model="wgan-gp-mnist", images=images(drawn))["scores"]
    logits = [score["logit"] for score in scores]
    told = (
        f"Its critic gives {SAMPLES} digits {min(logits):.1f} to {max(logits):.1f}. Only differences of these have a "
        f"meaning, so they were calibrated on held-out digits: real with a probability of {realness(drawn)}."
    )
    return told, images(drawn)


def fgan(service: Service) -> tuple[str, list[str]]:
    """f-GAN's critic estimates the ratio of two densities."""
    drawn = service.draw("fgan-mnist", n=SAMPLES, seed=7)
    scores = service.post("/score", model="fgan-mnist", images=images(drawn))["scores"]
    ratios = [score["log_density_ratio"] for score in scores]
    about = json.loads(service.get("/models/fgan-mnist/versions/1"))["provenance"]["config"]["objective"]
    told = (
        f"Trained by the divergence {about['divergence'].replace('_', ' ')}, its critic estimates how much likelier a "
        f"digit is in the data than among the generated: log p/q is {min(ratios):.2f} to {max(ratios):.2f} nats."
    )
    return told, images(drawn)


def infogan(service: Service) -> tuple[str, list[str]]:
    """InfoGAN's codes are turned by name, and read back from the image."""
    drawn = [service.draw("infogan-mnist", seed=7, codes={"digit": code, "slant": 0.5})[0] for code in range(DIGITS)]
    read = [each["codes"] for each in service.post("/encode", model="infogan-mnist", images=images(drawn))["encodings"]]
    right = sum(codes["digit"]["value"] == code for code, codes in enumerate(read))
    slant = sum(codes["slant"] for codes in read) / DIGITS
    told = (
        f"The {DIGITS} values of its code `digit`, which nobody labelled, from one seed: {right} are read back from "
        f"the images. Its code `slant` was set to 0.5 and is read as {slant:.2f} on average."
    )
    return told, images(drawn)


def bigan(service: Service) -> tuple[str, list[str]]:
    """BiGAN's encoder finds the latent of an image, and its generator draws it again."""
    given = images(service.draw("mnist", n=DIGITS, seed=7, labels=list(range(DIGITS))))
    latents = [each["latent"] for each in service.post("/encode", model="bigan-mnist", images=given)["encodings"]]
    again = service.post("/reconstruct", model="bigan-mnist", images=given)["reconstructions"]
    distance = sum(each["distance"] for each in again) / len(again)
    told = (
        f"{len(given)} digits of another package, each read as {len(latents[0])} numbers and drawn again from them, "
        f"at a mean squared distance of {distance:.2f} between -1 and 1."
    )
    return told, [*given, *images(again)]


def irgan(service: Service) -> tuple[str, list[str]]:
    """IRGAN draws items for a user, and its discriminator judges them."""
    drawn = service.draw("planted-items", n=SAMPLES, seed=7, condition=USER)
    chosen = service.draw("planted-items", n=SAMPLES, seed=7, condition=USER, select={"method": "best-of"})
    items = sorted({sample["item"] for sample in drawn})
    told = (
        f"User {USER} is drawn the items {', '.join(map(str, items))}; a liked one with a probability of "
        f"{realness(drawn)}, or of {realness(chosen)} where the discriminator chooses the best of eight."
    )
    return told, []


def ring(service: Service) -> tuple[str, list[str]]:
    """Vectors are compared with real ones that no network was trained on."""
    drawn = np.array([sample["values"] for sample in service.draw("ring", n=1000, seed=7)])
    real = np.load(io.BytesIO(service.get("/models/ring/versions/1/reference.npy")))
    nearest = np.linalg.norm(drawn[:, None] - real, axis=-1).min(axis=1)
    told = (
        f"Of {len(drawn):,} points {np.mean(nearest < WITHIN):.1%} are within {WITHIN} of one of {len(real):,} points "
        "of the true density."
    )
    return told, []


def conditional(service: Service) -> tuple[str, list[str]]:
    """A conditional package draws the class asked for, and names that of an image."""
    drawn = service.draw("mnist", n=DIGITS, seed=7, labels=list(range(DIGITS)))
    scores = service.post("/score", model="mnist", images=images(drawn))["scores"]
    right = sum(score["label"] == label for label, score in enumerate(scores))
    return f"Asked for the digits 0 to 9, its discriminator names {right} of them rightly.", images(drawn)


FEATURES = {
    "mnist": conditional,
    "dcgan-mnist": dcgan,
    "wgan-gp-mnist": wgan,
    "fgan-mnist": fgan,
    "infogan-mnist": infogan,
    "bigan-mnist": bigan,
    "planted-items": irgan,
    "ring": ring,
}


def main() -> None:
    """Ask each package, print what it is known for, keep the images if wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:8000")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where to write each package's images")
    given = parser.parse_args()
    service = Service(given.address)
    for name, feature in FEATURES.items():
        told, drawn = feature(service)
        sys.stdout.write(f"{name}: {told}\n")
        for place, uri in enumerate(drawn if given.images else []):
            path = given.images / name / f"{place:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(uri.partition(",")[2]))


if __name__ == "__main__":
    main()
