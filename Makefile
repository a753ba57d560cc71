# Every target first installs what it needs into .venv; a stamp makes that a no-op.
.DEFAULT_GOAL := help
.PHONY: help demo up test lint format lock install install-local clean bench figures chaos soak contract

BIN := .venv/bin
UV = $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate

# Most tests wait for servers and timers: three processes share two cores. Files stay whole, for their fixtures.
PARALLEL ?= -n 3 --dist loadfile

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: install-local ## Start the stack, run the lead workflow, show it, leave nothing running
	@$(BIN)/orchestrator demo

# Tied: the stack ends, cleanly, even when make itself is killed.
up: export ORCHESTRATOR_TIED = 1
up: install-local ## Run the stack in the foreground; ctrl-C stops it, state stays in .orchestrator/
	@$(BIN)/orchestrator up

test: install ## Run the tests (ARGS="-k name" narrows them down; PARALLEL= runs them one by one)
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

lint: install ## Check format, lint, types, import contracts and purity
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_purity.py

format: install ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## Measure our overhead over hand-written workflows
	@$(BIN)/python benchmarks/overhead.py --json

figures: install ## Assert the figures of large executions and of expressions at full size (ten minutes, on a quiet machine)
	@$(BIN)/pytest -m bench $(ARGS)

contract: install ## Write the contract, and send the API all that it may be sent (twenty minutes)
	@$(BIN)/python -m scripts.generate_contract
	@$(BIN)/pytest tests/acceptance/test_contract_fuzz.py -m "soak or not soak" $(ARGS)

soak: install ## Look for counterexamples of the properties for a long while, others each time
	@SOAK=20 $(BIN)/pytest -n 2 --dist load --timeout 3000 tests/unit/execution tests/unit/expressions/test_expression_fuzz.py tests/unit/definition/test_definition_fuzz.py $(ARGS)
	@$(BIN)/pytest -m soak tests/chaos $(ARGS)

chaos: install ## Run the long fault injections
	@$(BIN)/pytest -m chaos $(ARGS)

lock: install ## Resolve the locks anew (ARGS=--upgrade takes newer versions)
	@$(LOCK) $(ARGS) requirements/build.in -o requirements/build.lock
	@$(LOCK) $(ARGS) requirements/installer.in -o requirements/installer.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra s3 -o requirements/production.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra local requirements/local.in -o requirements/local.lock
	@$(LOCK) $(ARGS) pyproject.toml --extra local --extra s3 --extra dev requirements/local.in -o requirements/dev.lock

install: ## Install everything, for development
	@scripts/install.sh dev

install-local: ## Install what the local stack needs
	@scripts/install.sh local

clean: ## Remove .venv and caches; the stack's state in .orchestrator/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
