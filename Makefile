# Two commands on a fresh machine with git, make and python3 >= 3.11 (with venv): `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LOCKED := $(BIN)/uv pip compile --all-extras --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.lock

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench bench-peers fuzz real-run load-real soak chaos-home ui golden docs lock clean

help: ## what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install what requirements.lock pins into .venv (the others do it by themselves)

$(READY): requirements.lock pyproject.toml infra/setup.py
	@$(PYTHON) infra/setup.py
	@touch $@

demo: $(READY) ## the main job on a simulated market, from a vendor's rows to the report
	@$(BIN)/quant demo

ui: $(READY) ## the Dagster UI on these definitions
	@$(BIN)/quant ui

test: $(READY) ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY) ## ruff and basedpyright, as strict as CI
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/basedpyright

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(READY) ## seconds and memory of the stages, and of the daily commands on the home of `make demo`
	@$(BIN)/python bench/stages.py
	@$(BIN)/python -m bench.commands

bench-peers: $(READY) ## the environments of the peers we measure against (Feast, Qlib), into the user's cache
	@$(BIN)/python -m bench.peers.environment

fuzz: $(READY) ## 2,000 harmed files of each kind through each source of files
	@QUANT_FUZZ=2000 $(BIN)/python -m pytest -q tests/resources/test_mutated_files.py

real-run: $(READY) ## the real panel, by range and day by day, compared (needs QUANT_SHARED_DATA or ../shared/data)
	@$(BIN)/python -m bench.real_panel

load-real: $(READY) ## all of the real market data through the sources, each row accounted for (needs the same)
	@$(BIN)/python -m bench.load_real

soak: $(READY) ## 200 writers, compactions and vacuums killed in the middle: a table reads as before or as after
	@$(BIN)/python -m bench.soak 200

chaos-home: $(READY) ## damage, kills, clock steps, power cuts: end states as undisturbed, or a refusal
	@$(BIN)/python -m bench.chaos_home

golden: $(READY) ## write what the golden market must give on every machine, after a change that is meant to change ids
	@$(BIN)/python -m desk.golden.make

docs: $(READY) ## the pages that are made from the code
	@$(BIN)/python docs/data_contracts.py > docs/data-contracts.md
	@$(BIN)/python docs/features.py > docs/features.md
	@$(BIN)/python docs/deployment.py > docs/deployment.md
	@$(BIN)/python docs/deployment.py schema > desk/deployment.schema.json

lock: $(READY) ## resolve the dependencies again and write requirements.lock
	@$(LOCKED)

clean: ## remove the environment and caches (state under .quant stays)
	rm -rf .venv .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
