"""The house's laws, held by tests: what may be imported, what must be documented, what must agree.

Layers and independence are import-linter's work (`make check`); here stand the laws that need the code to run, or
two files to be held against each other.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import service
from service.metrics import Telemetry
from service.settings import Settings

ROOT = Path(__file__).parents[1]
RESULTS = (ROOT / "docs/results.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
SOURCES = ("ganymede", "service", "training")
MODULES = sorted(
    path.relative_to(ROOT) for folder in SOURCES for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"
)
ROOMS = sorted(
    path.relative_to(ROOT)
    for folder in SOURCES
    for path in (ROOT / folder, *(ROOT / folder).rglob("*/"))
    if path.is_dir() and path.name != "__pycache__"
)
MOST_MODULES, FEWEST_LINES, MOST_LINES = 12, 60, 400
# Rooms of equals, where a module is one of a kind, whatever its size.
ONE_A_FILE = {"endpoints", "objectives", "studies"}
DIALECT = re.compile(r"\b(?:whoever|somebody|likewise|stands (?:alone|apart))\b", re.IGNORECASE)
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def importers() -> Mapping[Path, set[Path]]:
    """Which modules import each."""
    names = {".".join(module.with_suffix("").parts): module for module in MODULES}
    found: dict[Path, set[Path]] = {module: set() for module in MODULES}
    for importer in (path.relative_to(ROOT) for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse((ROOT / importer).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    if name in names:
                        found[names[name]].add(importer)
    return found


IMPORTERS = importers()


def docstring(module: Path) -> str:
    """The text between a module's first triple quotes."""
    match = re.match(r'"""(.*?)"""', (ROOT / module).read_text(), re.DOTALL)
    return match.group(1) if match else ""


def test_the_service_starts_without_torch_and_leaves_onnx_to_the_vetting_child() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n"
        "from service.app import create_app\n"
        "from service.settings import Settings\n"
        "create_app(Settings())\n"
        "assert not [m for m in sys.modules if m.split('.')[0] in {'training', 'sklearn', 'scipy'}]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["tests/service", "tests/contract", "tests/live"])
def test_the_services_tests_are_collected_without_torch(folder: str) -> None:
    program = (
        f"import sys, pytest; sys.modules['torch'] = None; sys.exit(pytest.main(['--collect-only', '-q', '{folder}']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_what_it_is(module: Path) -> None:
    assert docstring(module).strip(), "a module begins with a line that says what it is"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_name_that_says_something(module: Path) -> None:
    assert module.stem not in VAGUE_NAMES


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_size_that_can_be_read(module: Path) -> None:
    lines = len((ROOT / module).read_text().splitlines())
    assert lines <= MOST_LINES, "divide it by idea"
    if lines < FEWEST_LINES and not ONE_A_FILE & set(module.parts) and module.stem != "__main__":
        assert len(IMPORTERS[module]) >= 2, f"{lines} lines with one importer: merge it into {IMPORTERS[module]}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_speaks_plainly(module: Path) -> None:
    assert DIALECT.findall((ROOT / module).read_text()) == []


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_folder_holds_no_more_than_one_can_see(room: Path) -> None:
    modules = [module for module in MODULES if module.parent == room]
    assert len(modules) <= MOST_MODULES + (room.name in ONE_A_FILE)
    if modules and len(room.parts) > 1:
        assert re.search(r"\bIn: .*\b[Mm]ay import\b", docstring(room / "__init__.py"), re.DOTALL)


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_folder_is_in_the_architecture(room: Path) -> None:
    assert f"`{room}/`" in ARCHITECTURE


@pytest.mark.parametrize(
    "module",
    [path for path in MODULES if path.parts[:2] == ("training", "objectives") and path.stem != "base"],
    ids=str,
)
def test_an_objective_cites_its_paper(module: Path) -> None:
    assert re.search(r"\b(19|20)\d\d\b", docstring(module)), "name the authors and the year in the module header"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_is_documented_with_its_default(name: str) -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    row = re.search(rf"^\| `GANYMEDE_{name.upper()}` \| (?:`([^`]*)`|empty) \|", page, re.MULTILINE)
    assert row, f"docs/configuration.md lists no GANYMEDE_{name.upper()}"
    assert (row.group(1) or "") == str(Settings.model_fields[name].get_default())


def test_the_changelogs_top_version_is_the_projects() -> None:
    top = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert top
    assert top.group(1) == service.__version__


def test_the_figures_of_the_results_are_those_of_the_shipped_manifest() -> None:
    manifest = json.loads((ROOT / "models/mnist/4/manifest.json").read_text())
    metrics = manifest["provenance"]["metrics"]
    stated = dict(
        re.findall(r"^\| (Fréchet distance|precision|recall|density|coverage) \| ([\d.]+) \|", RESULTS, re.MULTILINE)
    )
    assert len(stated) == 5
    for row, figure in stated.items():
        key = "frechet_distance" if row == "Fréchet distance" else row
        assert float(figure) == pytest.approx(metrics["images"]["generated"][key], abs=0.006)
    judge = manifest["discriminator"]
    for words, figure in (
        ("expected calibration error", judge["calibration"]["expected_calibration_error"]),
        ("calibration error without a label", judge["unknown_label"]["calibration"]["expected_calibration_error"]),
        ("held-out digits that are given their own label", judge["unknown_label"]["label_accuracy"]),
    ):
        found = re.search(rf"^\| {words}[^|]*\| ([\d.]+) \|", RESULTS, re.MULTILINE)
        assert found, words
        assert float(found.group(1)) == pytest.approx(figure, abs=6e-5)


def test_no_middleware_hides_a_disconnect() -> None:
    assert [
        m for m in MODULES if re.search(r"\bBaseHTTPMiddleware\)|import BaseHTTPMiddleware", (ROOT / m).read_text())
    ] == []


def test_every_metric_has_the_projects_prefix() -> None:
    registry = CollectorRegistry()
    Telemetry(registry)
    assert [family.name for family in registry.collect() if not family.name.startswith(("ganymede_", "process_"))] == []


@pytest.mark.parametrize("place", ["deploy/grafana/dashboards/ganymede.json", "deploy/prometheus/rules/ganymede.yml"])
def test_dashboard_and_alerts_ask_only_for_metrics_that_exist(place: str) -> None:
    registry = CollectorRegistry()
    Telemetry(registry)
    families = {family.name for family in registry.collect()}
    recorded = set(re.findall(r"record: (\S+)", (ROOT / "deploy/prometheus/rules/ganymede.yml").read_text()))
    asked = (
        set(re.findall(r"(?<![\w:])(?:[a-z_]+:)?(?:ganymede|process)_[\w:]+", (ROOT / place).read_text())) - recorded
    )
    assert asked
    assert {name for name in asked if re.sub(r"_(total|bucket|sum|count)$", "", name) not in families} == set()
