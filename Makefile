# Two commands matter: `make run` shows the whole of Overseer on this machine, `make test` checks it.
# Everything happens in .venv; only Python 3.11 or later is needed beforehand.

# The first Python that is new enough. Name another with PYTHON=…
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && exit; done; echo python3)
IN := .venv/bin/
ARGS ?=

# Hundreds of processes start in the tests alone: each would compile again what an earlier one compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test lint docs bench faults lock clean

help: ## Show these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

run: setup ## Start everything here and deploy the example (ARGS=--once: end after the proof)
	@exec $(IN)overseer quickstart $(ARGS)

setup: ## Create .venv with all that Overseer needs to run
	@$(PYTHON) scripts/environment.py

setup-dev: ## The same, and what tests and checks need
	@$(PYTHON) scripts/environment.py --dev

test: setup-dev ## Run all tests (ARGS=… goes to pytest)
	@exec $(IN)python -m pytest -n auto --dist loadfile $(ARGS)

lint: setup-dev ## Check style, types, the direction of imports and the generated pages
	@failed=0; \
	$(IN)ruff check . || failed=1; \
	$(IN)mypy --strict || failed=1; \
	$(IN)lint-imports --no-logo || failed=1; \
	if [ -f scripts/generate_docs.py ]; then $(IN)python -m scripts.generate_docs --check || failed=1; fi; \
	exit $$failed

docs: setup-dev ## Write the reference pages that are made from the code
	@$(IN)python -m scripts.generate_docs

bench: setup-dev ## Measure, print a table, write .bench/latest.json
	@exec $(IN)python -m benchmarks.run $(ARGS)

faults: setup-dev ## Break things on purpose and print what was expected and seen
	@exec $(IN)python -m tests.faults $(ARGS)

lock: setup-dev ## Write the hashed requirement files anew, with the newest versions allowed
	@$(IN)python scripts/lock.py

clean: ## Remove .venv and caches, never the data
	rm -rf .venv .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find src tests scripts examples -name __pycache__ -type d -prune -exec rm -rf {} +
