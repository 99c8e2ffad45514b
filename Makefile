# Two commands: `make book` and `make test`. Both need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
BIN := .venv/bin

# outputs must not depend on hash order, on the drawing backend of the terminal, or on the number of BLAS threads
export PYTHONHASHSEED := 0
export OPENBLAS_NUM_THREADS := 1

.PHONY: help book test notebooks bench clean
.DELETE_ON_ERROR:

help:
	@echo "make book       build the book into _build/html"
	@echo "make test       every check (browser checks where Chromium is installed)"
	@echo "make notebooks  run all notebooks and store their outputs (MEASURED=1: also what measures this machine)"
	@echo "make bench      timings beside other libraries"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "the venv module is missing: on Debian, apt install python3-venv"; exit 1; }
	@echo "creating .venv and installing the book's packages (a few minutes, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[lab,book,test,bench]'
	@touch $@

book: .venv/installed
	$(BIN)/jupyter-book build -W -n .

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --doctest-modules -m "not browser and not built" tests web3scale
	$(BIN)/pytest --nbval --nbval-sanitize-with tests/nbval.cfg chapters
	$(BIN)/jupyter-book build -W -n --all .
	$(BIN)/pytest -m "built or browser" tests

notebooks: .venv/installed
	$(BIN)/python _ext/execute.py $(if $(MEASURED),--measured)

bench: .venv/installed
	$(BIN)/python benchmarks/queues.py
	$(BIN)/python benchmarks/ledger.py

clean:
	rm -rf _build .venv
