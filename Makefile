# `make` alone lists the commands. All need Python 3.11 or newer, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
TWO := -n 2 --dist loadscope
NBVAL := --nbval --nbval-sanitize-with tests/nbval.cfg
# outputs must not depend on hash order, on the drawing backend of the terminal, or on the number of BLAS threads
export PYTHONHASHSEED := 0
export OPENBLAS_NUM_THREADS := 1

.PHONY: help book pdf check test notebooks bench clean
.DELETE_ON_ERROR:

help:
	@echo "make book       build the book into _build/html"
	@echo "make pdf        the whole book as a PDF, with a link to it in the built book (needs LaTeX; it says which packages)"
	@echo "make check      the checks that your change needs (CHAPTER=3, CHAPTER=03_2 or CHAPTER=a: those of a chapter)"
	@echo "make test       every check (browser checks where Chromium is installed)"
	@echo "make notebooks  run all notebooks and store their outputs (MEASURED=1: also what measures this machine)"
	@echo "make bench      timings beside other libraries"
	@echo "make clean      remove the built book and the virtual environment"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "the venv module is missing: on Debian, apt install python3-venv"; exit 1; }
	@echo "creating .venv and installing the book's packages (a few minutes, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,book,test,bench]'
	@touch $@

# one line of progress; what Sphinx says is shown in full where it fails
BUILD = mkdir -p _build && { $(BIN)/jupyter-book build -W -n $(1) . >_build/log 2>&1 || { cat _build/log; exit 1; }; }

book: .venv/installed
	@echo "building the book (about half a minute, less where little has changed)"
	@$(call BUILD)
	@echo "done: file://$(CURDIR)/_build/html/index.html"

pdf: .venv/installed
	@$(BIN)/python _ext/pdf.py

check: .venv/installed
	@$(BIN)/python _ext/check.py $(CHAPTER)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q $(TWO) --doctest-modules -m "not browser and not built" tests web3scale
	$(BIN)/pytest -q $(TWO) $(NBVAL) chapters
	rm -rf _build/html
	@$(call BUILD,--all)
	$(BIN)/pytest -q -m built tests/test_site.py
	$(BIN)/pytest -q -n 2 -m browser tests/browser

notebooks: .venv/installed
	$(BIN)/python _ext/execute.py $(if $(MEASURED),--measured)

bench: .venv/installed
	$(BIN)/python benchmarks/queues.py
	$(BIN)/python benchmarks/ledger.py

clean:
	rm -rf _build .venv chapters/api
