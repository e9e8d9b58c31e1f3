# Every target sets itself up: .venv with the locked dependencies, and tmux. `make` alone says what there is.
SHELL := /bin/sh
BIN := .venv/bin
# Nothing of an environment that happens to be active may leak into ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# Without compiled modules each of 400 starts of agentd in the tests takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# pytest-xdist: two workers a core and one, as most tests wait for something (2 cores: 3 workers 3:46, 5 workers 3:11);
# `make test WORKERS=0 ARGS=tests/jcard` runs a part in one process.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 2 + 1)
ARGS ?=

.PHONY: help demo test fleet-test coverage faults fuzz soak lint bench peers audit sbom docs dist lock clean
.DEFAULT_GOAL := help

help: ## say what there is
	@echo "agentd: AI coding agents, supervised like services, in tmux"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

demo: ## watch five scripted agents being supervised; C-c ends it (DEMO_SECONDS=N: unattended)
	@scripts/bootstrap run
	@exec $(BIN)/python examples/quickstart/demo.py

test: ## run the whole test suite (ARGS="-k name" selects)
	@scripts/bootstrap dev
	@$(BIN)/python -m compileall -q -j 0 agentd tests/support
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

fleet-test: ## set Ray up, and run the tests of many hosts on it (each Ray node takes 0.4 GB)
	@scripts/bootstrap fleet
	$(BIN)/python -m pytest -m fleet tests/fleet tests/docs/test_pages.py $(ARGS)

coverage: ## run it once more, twice as long, and say which lines agentd and agentctl did not reach
	@scripts/bootstrap dev
	scripts/coverage -n $(WORKERS) --dist worksteal $(ARGS)

faults: ## break a running agentd in every way, some thousand times (ARGS="--seed N --rounds N --only FAMILY --list")
	@scripts/bootstrap dev
	$(BIN)/python -m tests.faults $(ARGS)

fuzz: ## throw far more at the parsers and the API: ten minutes (ARGS="--hypothesis-seed=N" replays a run)
	@scripts/bootstrap dev
	@tests/fuzz/install-schemathesis || echo "without schemathesis: it could not be fetched"
	$(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz --timeout 1200 -n 2 -rP --hypothesis-show-statistics $(ARGS)

soak: ## trouble 300 agents for 30 minutes; nothing may grow or be lost (ARGS="--time 5m --agents 60")
	@scripts/bootstrap dev
	$(BIN)/python -m tests.soak $(ARGS)

lint: ## ruff, mypy, the layers, the packaged units, the shell scripts
	@scripts/bootstrap dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/reference.py --check
	@scripts/lint-unit packaging/*.service
	@if command -v shellcheck >/dev/null; then shellcheck scripts/bootstrap scripts/coverage scripts/debian-tree scripts/lint-unit scripts/lock tests/fuzz/install-schemathesis tests/gateway/fetch-brokers tests/mcp/install-conformance tests/packaging/fetch-pips benchmarks/peers/install scripts/audit .ci/run; \
	else echo "shellcheck: not installed, scripts not checked"; fi

bench: ## measure against the raw floor and print the table
	@scripts/bootstrap dev
	$(BIN)/python -m benchmarks $(ARGS)

peers: ## the same work by supervisord, circus, pm2 and agentd, as ratios (ARGS=--quick)
	@scripts/bootstrap dev
	@benchmarks/peers/install
	$(BIN)/python -m benchmarks.peers $(ARGS)

audit: ## known vulnerabilities of what agentd needs; without a database, the hashes of what is installed
	@scripts/bootstrap dev
	@scripts/audit

sbom: ## write dist/agentd.cdx.json: what agentd needs, as CycloneDX
	@scripts/bootstrap dev
	@mkdir -p dist
	$(BIN)/python -m scripts.sbom >dist/agentd.cdx.json
	@echo dist/agentd.cdx.json

docs: ## write docs/man, and the parts of docs/reference that the code knows
	@scripts/bootstrap dev
	$(BIN)/python scripts/reference.py

dist: ## build the wheel and the source distribution into dist/, the same bytes wherever it is done
	@scripts/bootstrap dev
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1700000000) $(BIN)/python -m hatchling build

lock: ## write requirements/*.txt from pyproject.toml (ARGS=--upgrade takes the newest)
	@scripts/lock $(ARGS)

clean: ## remove what the other targets made
	rm -rf .venv .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
