# The one list of tasks. Each target makes .venv when it is missing or old.

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11, \
	$(shell $(p) -c 'import sys; print("$(p)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# A path in .venv instead of an import hook, which costs each start some 15 ms.
EDITABLE := --config-settings editable_mode=compat --editable

OPENAPI := aims_server/web/openapi.yaml

.DEFAULT_GOAL := help
.PHONY: help demo test fuzz coverage lint format docs screenshots bench profile \
	openapi apilint clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

# What runs the service comes first and alone, so that the demo starts soon.
.venv/base.stamp: setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv  # pip comes last, or not at all
	@echo "Installing aims_server into .venv ..." >&2
	@$(PIP) $(EDITABLE) .
	@touch $@

.venv/dev.stamp: .venv/base.stamp
	@echo "Installing the tools for tests and checks into .venv ..." >&2
	@$(PIP) $(EDITABLE) '.[dev]'
	@touch $@

demo: .venv/base.stamp  ## a simulated platform and the service beside it, ready to log in
	@$(BIN)/aims-server demo

# Where no bytecode may be kept each process compiles all tests anew, for 4 s.
test: .venv/dev.stamp  ## all tests
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto  # tests/conftest.py says how many at once

fuzz: .venv/dev.stamp  ## the fast path against Tornado's parser, SECONDS=300 of mutated requests
	@FUZZ_SECONDS=$(or $(SECONDS),300) FUZZ_SEED=$$(date +%s) \
		$(BIN)/python -m pytest -s tests/handlers/test_differential.py

# One at a time: what the processes of pytest-xdist run is not measured.
coverage: .venv/dev.stamp  ## all tests, and the lines that none of them ran
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: .venv/dev.stamp  ## every check but the tests; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: .venv/dev.stamp  ## format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: .venv/dev.stamp  ## the pages of docs/ as HTML in build/docs
	@$(BIN)/python -m sphinx -n -W --keep-going -q -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

openapi: .venv/dev.stamp  ## openapi.json, the form that is served, from openapi.yaml
	@$(BIN)/python -c 'import json, pathlib, yaml; \
		written = pathlib.Path("aims_server/web/openapi.yaml"); \
		document = yaml.safe_load(written.read_text("utf-8")); \
		compact = json.dumps(document, ensure_ascii=False, separators=(",", ":")); \
		written.with_suffix(".json").write_text(compact + "\n", "utf-8")'

# The tests hold the document to the service and to OpenAPI 3.1 without Node.js; this is
# what the tools of its readers say.
apilint: .venv/base.stamp  ## openapi.yaml by redocly, spectral, openapi-typescript (npx)
	@npx --yes @redocly/cli@2 lint --skip-rule=operation-4xx-response $(OPENAPI)
	@echo 'extends: ["spectral:oas"]' >.venv/spectral.yaml
	@npx --yes --package=@stoplight/spectral-cli@6 -- \
		spectral lint --ruleset .venv/spectral.yaml $(OPENAPI)
	@npx --yes openapi-typescript@7 $(OPENAPI) --output .venv/openapi.ts
	@npx --yes --package=typescript@5 -- tsc --noEmit --strict .venv/openapi.ts

.venv/bench.stamp: .venv/dev.stamp
	@echo "Installing what the service is measured against into .venv ..." >&2
	@$(PIP) $(EDITABLE) '.[bench]'
	@touch $@

bench: .venv/bench.stamp  ## how fast it is beside others; ONLY=name for one part
	@$(BIN)/python -m bench $(ONLY)

profile: .venv/bench.stamp  ## a flame graph of a worker; ONLY=quiz, all-attendance, health, cold
	@$(BIN)/python -m bench.profile $(or $(ONLY),quiz)

screenshots: .venv/dev.stamp  ## the pictures of the student's page in docs/
	@$(BIN)/python -m tests.page.screenshots docs/images

clean:  ## remove everything that was made
	@rm -rf .venv build dist htmlcov *.egg-info .coverage .coverage.* \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
