# Ganymede's commands; `make help` lists them. Each builds the virtual environment it needs, once.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
CONFIG ?= conditional-mnist
RUN    ?= runs/$(CONFIG)
NAME   ?= mnist
SBOM   ?= sbom.cdx.json
# Processes that run tests; with 0 they run in this one, for a debugger.
JOBS   ?= logical

.DEFAULT_GOAL := help
.PHONY: help serve test quick check bench fuzz soak chaos format train export sbom audit clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ganymede needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

# torch comes first and by its exact version, so that pip takes the build that is at hand.
$(VENV)/.develop: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --quiet -c constraints.txt -e '.[train,dev]'
	@touch $@ $(VENV)/.serve

serve: $(VENV)/.serve ## start the service on port 8000 with the packages in models/
	GANYMEDE_LOG_FORMAT=$${GANYMEDE_LOG_FORMAT:-console} exec $(BIN)/python -m service

test: $(VENV)/.develop ## run every test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

quick: $(VENV)/.develop ## run the tests that take seconds
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not slow'

check: $(VENV)/.develop ## lint, types, layers, schema, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/check_manifests.py
	$(PIP) check

bench: $(VENV)/.develop ## measure against the hardware and other servers (QUICK=1 for minutes, PEERS=mosec,litserve,pytriton,bentoml,rayserve,mlserver)
	$(BIN)/python -m benchmarks everything $(if $(QUICK),--quick)

fuzz: $(VENV)/.develop ## a million fuzzed inputs to every reader, and to a service (QUICK=1 for two thousand)
	$(BIN)/python -m benchmarks fuzz $(if $(QUICK),--quick)

soak: $(VENV)/.develop ## half an hour of mixed load: every answer as known, and nothing grows (QUICK=1 for seconds)
	$(BIN)/python -m benchmarks soak $(if $(QUICK),--quick)

chaos: $(VENV)/.develop ## faults in a real service: what is lost, and how soon it is healthy (QUICK=1 for two)
	$(BIN)/python -m benchmarks chaos $(if $(QUICK),--quick)

format: $(VENV)/.develop ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/.develop ## train CONFIG (conditional-mnist) into RUN
	$(BIN)/python -m training train $(CONFIG) --out $(RUN)

export: $(VENV)/.develop ## export RUN as models/NAME, the next version (LICENSE of the weights)
	$(BIN)/python -m training export $(RUN) --models models --name $(NAME) $(if $(LICENSE),--license "$(LICENSE)")

# The tools do not list themselves: they look at the other environment from their own.
$(VENV)/supply/.tools: constraints.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/supply
	$(VENV)/supply/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt cyclonedx-bom pip-audit
	@touch $@

sbom: $(VENV)/.serve $(VENV)/supply/.tools ## write every Python package of the environment to sbom.cdx.json (SBOM=FILE, CycloneDX)
	$(VENV)/supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate -o $(SBOM) $(BIN)/python

audit: $(VENV)/supply/.tools ## ask the Python advisory database about every pinned version
	$(VENV)/supply/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

clean: ## remove the virtual environment and caches (never runs/)
	rm -rf $(VENV) benchmarks/.work sbom.cdx.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
