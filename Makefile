# The set-up of a fresh machine: `make demo` is the main job, `make test` the tests. Both make .venv if it is not there.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: env demo test lint bench-env clean

env: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "cloudchamber needs Python 3.11, 3.12 or 3.13; give one with: make env PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[sim,blosc,test,dev]'
	@touch $@

demo: env
	$(BIN)/cloudchamber demo -o demo

test: env
	$(BIN)/python -m pytest -q

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md SECURITY.md CITATION.cff docs src tests benchmarks recipes examples

bench-env:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install -q -r benchmarks/requirements.txt
	.venv-bench/bin/pip install -q --no-deps -r benchmarks/jetnet.txt

clean:
	rm -rf .venv .venv-bench demo
