# Every target sets up what it needs in .venv by itself; all it asks of the machine is Python 3.11, make and git.
.PHONY: demo up test lint bench validity nightly clean
.DEFAULT_GOAL := demo

PYTHON = $(shell for name in python3.11 python3 python; do \
	command -v $$name >/dev/null 2>&1 && \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 && \
	echo $$name && break; done)
NO_PYTHON = Python 3.11 with its venv module is needed and was not found (looked for python3.11, python3, python)
PIP = .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input
WITH_PATH = PYTHONPATH=.:platform

# A stamp is newer than the list it was made from: a second run has nothing to do.
.venv/.runtime: requirements.txt
	$(if $(PYTHON),,$(error $(NO_PYTHON)))
	@echo "setting up .venv (runtime): a minute, once" >&2
	@.venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(PIP) -r requirements.txt
	@touch .venv/.runtime

.venv/.dev: requirements-dev.txt requirements.txt .venv/.runtime
	@echo "setting up .venv (tests and checks): a minute, once" >&2
	@$(PIP) -r requirements-dev.txt
	@touch .venv/.dev

demo: .venv/.runtime
	@exec .venv/bin/python manage.py demo

up: .venv/.runtime
	@exec .venv/bin/python manage.py up

# By file: what one test of a module leaves for the next (processes, tables) is in one process only.
test: .venv/.dev
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -rs -m "not nightly" $(ARGS)

lint: .venv/.dev
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m mypy
	@$(WITH_PATH) .venv/bin/lint-imports

bench: .venv/.dev
	@.venv/bin/python -m benchmarks $(ARGS)

# Ten thousand runs of every figure at every size: an hour of one core, spread over all of them.
validity: .venv/.dev
	@.venv/bin/python -m benchmarks.validity $(ARGS)

nightly: .venv/.dev
	@.venv/bin/python -m pytest -q -rs --timeout 7200 -m nightly $(ARGS)

# var/ holds accounts, keys and ledgers: removing it is for a person to decide.
clean:
	rm -rf .venv .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
