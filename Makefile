# Each target sets up what it needs: a virtual environment in .venv from the lock file.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help up check fix test test-compose lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

up: .venv/.ready ## run the whole system for real on http://127.0.0.1:8080
	@exec $(BIN)/leaderboard up

check: .venv/.ready ## lint, format check, strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests

fix: .venv/.ready ## mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: .venv/.ready ## every test, against real servers
	$(BIN)/pytest

test-compose: .venv/.ready ## build the containers, run the acceptance tests against them, take them down
	$(BIN)/python -m tests.compose

lock: .venv/.ready ## bring the lock file up to date with pyproject.toml
	$(BIN)/uv lock

clean: ## remove the environment and the local cluster's data
	rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache

.venv/.ready: pyproject.toml uv.lock .ci/setup
	@PYTHON="$(PYTHON)" sh .ci/setup
	@touch $@
