# make demo: set up, then run the main job on what the package carries.
# make test: set up, then lint, type-check, build the documentation and run the tests.
# make test-all: the same with the slowest tests, which make test leaves out.
# make docs: set up, then build the documentation into site/.
# All need Python 3.11 or newer and nothing else; all goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
export MARKED ?= not slow

.PHONY: demo test test-all pytest lint docs clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pointadapt needs Python 3.11 or newer; try make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once, some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/pointadapt demo

lint: $(STAMP)
	@$(BIN)/ruff check src tests benchmarks tools
	@$(BIN)/ruff format --check src tests benchmarks tools
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }
	@$(BIN)/python tools/structure.py

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "documentation: site/index.html"

test: $(STAMP)
	@$(MAKE) --no-print-directory -j 3 lint docs pytest  # side by side: each has its own verdict

test-all: MARKED = slow or not slow
test-all: test

pytest: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "$(MARKED)"

clean:
	rm -rf $(VENV) runs demo site .pytest_cache .ruff_cache
