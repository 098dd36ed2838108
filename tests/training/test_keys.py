"""The reference of every key: it agrees with the code, and finds the same mistakes sooner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.support import small
from training import config as configuration
from training import keys
from training.cli import main
from training.errors import ConfigError
from training.tables import Value, parse

CONFIGS = sorted(keys.SHIPPED.glob("*.toml"))


def test_the_shipped_schema_is_the_codes() -> None:
    assert keys.FILE.read_text(encoding="utf-8") == keys.text(keys.schema()), (
        'python -c "from training import keys; keys.FILE.write_text(keys.text(keys.schema()))"'
    )


def test_the_shipped_reference_is_the_schemas() -> None:
    page = (keys.SHIPPED / "README.md").read_text(encoding="utf-8")
    assert page == "\n".join(keys.reference()) + "\n", "python -m training keys > training/configs/README.md"


def test_every_key_says_what_it_is() -> None:
    assert [line for line in keys.reference() if line.startswith("| `") and line.endswith("|  |")] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_passes_the_check_and_an_editors(path: Path) -> None:
    keys.check_file(path)
    jsonschema.validate(small.tables(path), keys.shipped())


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": {"batch_sise": 16}},
        {"trainer": {"batch_size": 0}},
        {"trainer": {"precision": "fp64"}},
        {"trainer": {"beta1": True}},
        {"generator": {"widths": []}},
        {"generator": {"kind": "mlp", "width": 3}},
        {"discriminator": {"widths": [8, "16"]}},
        {"objective": {"kind": "infogan", "categorical": {"digit": 1}}},
        {"objective": {"kind": "infogan", "continuous": {"slant": [0.0]}}},
        {"objective": {"kind": "relativistik"}},
        {"data": {"kind": "folder"}},
        {"data": {"kind": "gaussian_mixture", "weights": [1.0], "means": [0.0], "deviations": [0.0]}},
        {"diagnostics": {"probe_samples": 1}},
        {"diagnostic": {"probe_samples": 64}},
        {"objective": {"gamma_r1": 1.0}, "generator": {"kind": 3}},
        {"augmentation": {"kind": "ada", "target": 2.0}},
    ],
    ids=json.dumps,
)
def test_the_check_words_a_mistake_as_the_configuration_does(changes: dict[str, dict[str, Value]]) -> None:
    text = small.text(**changes)
    with pytest.raises(ConfigError) as slow:
        configuration.loads(text)
    with pytest.raises(ConfigError) as quick:
        keys.check(parse(text))
    assert str(quick.value) == str(slow.value)


def test_a_mistake_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(small.text(trainer={"batch_sise": 16}))
    program = (
        "import sys; sys.modules['torch'] = None; from training.cli import main\n"
        f"sys.exit(main(['train', {str(tmp_path / 'bad.toml')!r}, '--out', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ)
    assert done.stderr.endswith('[trainer] has no key "batch_sise"; did you mean "batch_size"?\n')
    assert done.returncode == 2


def test_one_table_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "trainer"]) == 0
    shown = capsys.readouterr().out
    assert '| `precision` | `"fp32"`, `"bf16"`, `"fp16"` | `"fp32"` |' in shown
    assert "## `[data]`" not in shown
    assert main(["keys", "trainr"]) == 2
    assert 'did you mean "trainer"?' in capsys.readouterr().err
