"""The chart rendered by Helm, and the part of its schema that is made from the service's settings.

`python -m tests.support.chart` writes that part anew.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from service.settings import PREFIX, Settings

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy/helm/ganymede"
SCHEMA: Final = CHART / "values.schema.json"
PROFILES: Final = sorted(path.stem for path in (CHART / "profiles").iterdir())
HELM: Final = os.environ.get("HELM") or shutil.which("helm")
# What the chart itself says, from `models` and `keys`.
OF_THE_CHART: Final = {"models_dir", "keys_file", "without_keys"}
ON_OFF: Final = {"on", "off"}
TIMEOUT_S: Final = 60

Manifest = dict[str, Any]

needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not on PATH, and HELM does not name it")


# It reads four megabytes of JSON for each object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


@cache
def _accepted(version: str, text: str) -> None:
    kubernetes_validate.validate(json.loads(text), version, strict=True)


def accepted_by_kubernetes(found: Manifest, version: str) -> None:
    """Pass what a version of Kubernetes would take; equal objects are looked at once.

    Raises:
        kubernetes_validate.ValidationError: it would not.
    """
    _accepted(version, json.dumps(found, sort_keys=True))


def settings_schema() -> Mapping[str, object]:
    """The schema of the chart's `settings`, from the service's own."""
    properties = Settings.model_json_schema()["properties"]
    return {
        "description": "Settings of the service by the names of docs/configuration.md.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            f"{PREFIX}{name.upper()}": _setting(name, schema)
            for name, schema in properties.items()
            if name not in OF_THE_CHART
        },
    }


def _setting(name: str, schema: Mapping[str, Any]) -> Mapping[str, object]:
    kept = {key: value for key, value in schema.items() if key not in {"title", "default", "format"}}
    if "anyOf" in kept:  # a number, or one with a unit
        kept |= {"type": [each["type"] for each in kept.pop("anyOf")]}
    if set(kept.get("enum", ())) >= ON_OFF:  # YAML reads on and off as booleans, which the chart writes as words again
        kept |= {"enum": [*kept["enum"], False, True]}
        del kept["type"]
    if name == "port":  # a Service needs to know it
        kept |= {"minimum": 1, "description": "port to listen on"}
    return kept


def written() -> str:
    """The whole schema with the part of the settings made anew."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def helm(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run Helm, which asks no cluster and nothing of the user's own configuration."""
    assert HELM is not None
    return subprocess.run(
        [HELM, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=ROOT,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]},
    )  # fmt: skip


def rendered(*arguments: str, release: str = "ganymede") -> list[Manifest]:
    """The objects of a release in the namespace `gans`, with these arguments of `helm template`."""
    done = helm("template", release, CHART, "--namespace", "gans", *arguments)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def profile(name: str) -> tuple[str, str]:
    """The arguments that choose a profile."""
    return "--values", str(CHART / "profiles" / f"{name}.yaml")


def only(objects: list[Manifest], kind: str) -> Manifest:
    """The one object of a kind, hooks of `helm test` aside."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
