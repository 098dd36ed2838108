"""The schema check of `make check`: the schema is a draft-07 schema, and every shipped manifest is valid by it.

It is a program of its own, and not a test, so that a broken manifest is told apart from broken code.
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft7Validator

MODELS = Path(__file__).parents[1] / "models"


def main() -> int:
    """Check the schema, then each manifest; print every damage.

    Returns:
        The number of damages.
    """
    schema = json.loads((MODELS / "manifest.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    damages = [
        f"{manifest.relative_to(MODELS.parent)}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for manifest in sorted(MODELS.glob("*/*/manifest.json"))
        for error in validator.iter_errors(json.loads(manifest.read_text()))
    ]
    for damage in damages:
        sys.stderr.write(damage + "\n")
    return len(damages)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
