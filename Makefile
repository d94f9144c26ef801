# Each target sets up what it needs: a virtual environment in .venv from the lock file.
BIN := .venv/bin

# Each process of pytest has servers of its own; those that the environment names, all would empty at once.
SIDE_BY_SIDE = $(if $(TEST_REDIS_URL)$(TEST_POSTGRES_URL),,-n $(or $(JOBS),2) --dist loadfile)

# What `make test-matrix` runs on each layout, and the part of it that `make test` runs on a cluster.
ON_EVERY_LAYOUT = tests/integration/leaderboard_service tests/integration/worker_service
ON_A_CLUSTER = tests/integration/leaderboard_service/scores/test_scores.py \
	tests/integration/leaderboard_cli/commands/test_board_import_spread.py

# Plots need more than the system does.
BENCH_SETUP = sh .ci/setup --extra bench

.PHONY: help up check fix test test-quick test-matrix test-documents test-containers test-newest test-uvicorn test-clients test-pgbouncer test-compose test-upgrade docs site soak ledger-cluster history fuzz hostile bench bench-boards bench-durability bench-fallback bench-growing bench-instructions bench-rebuild bench-recovery bench-scaling bench-whole-calls lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

up: .venv/.ready ## run the whole system for real on http://127.0.0.1:8080
	@exec $(BIN)/leaderboard up

check: .venv/.ready ## lint, format check, contracts of imports, strict types (a minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks

fix: .venv/.ready ## mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: .venv/.ready ## every test, against real servers (JOBS=2 processes; some 25 minutes); with a Docker engine the stores' also against containers
	$(BIN)/pytest -m 'not serial' $(SIDE_BY_SIDE)
	$(BIN)/pytest -m serial
	TEST_LAYOUT=cluster $(BIN)/pytest -q $(ON_A_CLUSTER)
	@if docker info >/dev/null 2>&1; then \
		echo "A Docker engine answers: the tests of the stores once more, against containers ..."; \
		TEST_INFRA=containers $(BIN)/pytest -q $(SIDE_BY_SIDE) tests/integration/leaderboard_service/players \
			tests/integration/worker_service/saving tests/integration/leaderboard_core/postgres tests/integration/test_containers.py; \
	else \
		echo "No Docker engine answers: the run against containers is left out."; \
	fi

test-quick: .venv/.ready ## the unit tests alone, for a commit (a minute)
	$(BIN)/pytest -q tests/unit

test-documents: .venv/.ready ## every local block of README, quickstart and operations, in a reader's order (three minutes)
	TEST_OPERATIONS=1 $(BIN)/pytest -q tests/acceptance/test_documents.py

test-matrix: .venv/.ready ## service, worker and faults on one Redis, two URLs, two partitions, a cluster (LAYOUT= one of them)
	@set -e; for layout in $(or $(LAYOUT),one-redis two-redis two-partitions cluster); do \
		echo "On $$layout:"; \
		TEST_LAYOUT=$$layout $(BIN)/pytest -q -m 'not serial' $(SIDE_BY_SIDE) $(ON_EVERY_LAYOUT); \
		TEST_LAYOUT=$$layout $(BIN)/pytest -q -m serial $(ON_EVERY_LAYOUT) tests/faults/test_faults.py; \
	done

test-containers: .venv/.ready ## all integration tests of service and worker against containers (eight minutes)
	TEST_INFRA=containers $(BIN)/pytest -q tests/integration/leaderboard_service tests/integration/worker_service \
		tests/integration/leaderboard_core/postgres tests/integration/test_containers.py

test-newest: ## what we use of private parts of fastapi, uvicorn, redis and the like, on their newest releases
	@PYTHON="$(PYTHON)" sh .ci/newest

test-uvicorn: .venv/.ready ## the service's tests under uvicorn's own two protocols instead of ours (ten minutes)
	TEST_HTTP=httptools $(BIN)/pytest -q tests/integration/leaderboard_service
	TEST_HTTP=h11 $(BIN)/pytest -q tests/integration/leaderboard_service

test-clients: .venv/.ready ## generate clients for TypeScript, Go and Java (what is there) and play a whole life with each
	$(BIN)/pytest -q tests/clients

test-pgbouncer: .venv/.ready ## the tests of the stores with a PgBouncer in transaction mode before Postgres (ten minutes)
	TEST_PGBOUNCER=1 $(BIN)/pytest -q tests/integration/leaderboard_core/postgres tests/integration/worker_service \
		tests/integration/leaderboard_service/boards tests/integration/leaderboard_service/players

test-compose: .venv/.ready ## build the containers, run the acceptance tests against them, take them down (OPTIONS=--every-block: the operations page instead)
	$(BIN)/python -m tests.compose $(OPTIONS)

docs: .venv/.ready ## write the generated parts of the documents: examples, tables, docs/api.md
	RECORD_EXAMPLES=1 $(BIN)/pytest -q tests/integration/leaderboard_service/reference/test_examples.py
	$(BIN)/python -m tests.docs

site: .venv/.ready ## the documents as a site with search, in site/html; any warning is an error
	@sh .ci/setup --extra site
	@$(BIN)/python -m tests.docs.site
	@echo "To read it with search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site/html"

soak: .venv/.ready ## faults for MINUTES=10 with random seeds, or SEED=n
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

ledger-cluster: .venv/.ready ## kill masters of a real cluster KILLS=100 times under the ledger (SEED=n, OPTIONS="--wait-replicas 0": count what is lost)
	$(BIN)/python -m tests.faults.cluster --kills $(or $(KILLS),100) $(if $(SEED),--seed $(SEED)) $(OPTIONS)

test-upgrade: .venv/.ready ## upgrade from the version before, process by process under load and faults; ROUNDS=3
	UPGRADE_ROUNDS=$(or $(ROUNDS),3) $(BIN)/pytest -q -s tests/upgrade

history: .venv/.ready ## every pair of faults, what clients saw checked by Porcupine (SEED=n, OPTIONS=); needs Go, takes an hour
	$(BIN)/python -m tests.history $(if $(SEED),--seed $(SEED)) $(OPTIONS)

fuzz: .venv/.ready ## random byte streams to gateway and service, held against uvicorn's own protocols (STREAMS=20000, SEED=n)
	$(BIN)/python -m tests.fuzz --streams $(or $(STREAMS),20000) $(if $(SEED),--seed $(SEED))

hostile: .venv/.ready ## what one address can do to stop others, for MINUTES=10; fails where a process keeps memory of it
	$(BIN)/python -m tests.hostile --minutes $(or $(MINUTES),10)

bench-recovery: .venv/.ready ## rebuild, drain and memory per player, next to bare loops
	$(BIN)/python -m benchmarks.recovery

bench-fallback: .venv/.ready ## reads from Postgres, one by one and by 64 readers, at 1,000,000 and 10,000,000 players
	$(BIN)/python -m benchmarks.fallback

bench-durability: .venv/.ready ## what appendfsync costs and loses with fsyncs of 1, 5 and 20 ms; needs wrk and a C compiler
	$(BIN)/python -m benchmarks.durability

bench-rebuild: .venv/.ready ## rebuilds of 1,000,000 and 10,000,000 players, and what others feel meanwhile; needs wrk
	$(BIN)/python -m benchmarks.rebuilding

bench: .venv/.ready ## the whole system under load, next to a bare floor (PLAYERS=, SECONDS=, ROUNDS=; ten minutes); needs wrk
	@$(BENCH_SETUP)
	$(BIN)/python -m benchmarks $(if $(PLAYERS),--players $(PLAYERS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-scaling: .venv/.ready ## cost against the number of players; boards merged from 1, 2, 4 Redis; partitions of a cluster; needs wrk
	@$(BENCH_SETUP)
	$(BIN)/python -m benchmarks.scaling

bench-boards: .venv/.ready ## scores and reads of other boards beside those of main; memory of an entry; needs wrk for its version only
	$(BIN)/python -m benchmarks.boards

bench-instructions: .venv/.ready ## instructions of calls on main and on other boards, which other work on the machine does not change; needs valgrind
	$(BIN)/python -m benchmarks.instructions

bench-whole-calls: .venv/.ready ## CPU of calls from NGINX to Postgres, on main and other boards, or in two checkouts (AGAINST=); half an hour; needs wrk
	$(BIN)/python -m benchmarks.whole_calls $(if $(AGAINST),--against $(AGAINST))

bench-growing: .venv/.ready ## failovers of a cluster, and other numbers of partitions, at 100,000 and 1,000,000 players; a quarter of an hour
	$(BIN)/python -m benchmarks.growing

# Without the rest: a lock file that is out of date installs nothing.
lock: $(BIN)/uv ## bring the lock file up to date with pyproject.toml
	$(BIN)/uv lock

clean: ## remove the environment and the local cluster's data
	rm -rf .venv .venv-newest .local site .mypy_cache .pytest_cache .ruff_cache postman/node_modules tests/foreign/node_modules tests/clients/typescript/node_modules

$(BIN)/uv:
	@PYTHON="$(PYTHON)" sh .ci/setup --only-uv

ifneq ($(shell PYTHON="$(PYTHON)" sh .ci/setup --stale),)
.PHONY: .venv/.ready
endif
.venv/.ready: pyproject.toml leaderboard_client/pyproject.toml uv.lock .ci/setup
	@PYTHON="$(PYTHON)" sh .ci/setup
	@touch $@
