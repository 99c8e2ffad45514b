# `make` alone lists the commands. All need Python 3.11 or newer, and a network the first time.
PYTHON ?= python3
BIN := .venv/bin
TWO := -n 2 --dist loadscope
NBVAL := --nbval --nbval-sanitize-with tests/nbval.cfg
# outputs must not depend on hash order, on the drawing backend of the terminal, or on the number of BLAS threads
export PYTHONHASHSEED := 0
export OPENBLAS_NUM_THREADS := 1

.PHONY: help book lab student pdf check test notebooks oldest newest links bench clean
.DELETE_ON_ERROR:

help:
	@echo "make book       build the book into _build/html"
	@echo "make lab        open the book in JupyterLab, to run and change it"
	@echo "make student    write all notebooks without their solutions into _build/student"
	@echo "make pdf        the whole book as a PDF, linked from the built book (needs LaTeX, and says which packages)"
	@echo "make check      the checks that your change needs (CHAPTER=3, CHAPTER=03_2 or CHAPTER=a: those of a chapter)"
	@echo "make test       every check (browser checks where Chromium is installed)"
	@echo "make notebooks  run all notebooks and store their outputs (MEASURED=1: also what measures this machine)"
	@echo "make oldest     tests and notebooks with the oldest libraries that the package allows (newest: with the newest)"
	@echo "make links      ask whether every link of the book still leads somewhere"
	@echo "make bench      timings beside other libraries"
	@echo "make clean      remove the built book and the virtual environment"

# Each command installs what it needs, and notes it in a file: .venv/for-book and so on.
FOR_book := pinned,book
FOR_lab := pinned,lab
FOR_all := pinned,lab,book,test,bench
# (from versions: none): no index was reached; a version that does not exist is another fault, and pip names what there is
NO_NETWORK := NewConnectionError|NameResolution|ConnectTimeout|Temporary failure|from versions: none

.venv/for-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "the venv module is missing: on Debian, apt install python3-venv"; exit 1; }
	@echo "installing into .venv what this needs (a minute or two, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(FOR_$*)]' >.venv/log 2>&1 || { \
		! grep -qE '$(NO_NETWORK)' .venv/log || echo "no network: the libraries are fetched once, over the internet; pip said:"; \
		cat .venv/log; exit 1; }
	@touch $@

# one line of progress; what Sphinx says is shown in full where it fails
BUILD = mkdir -p _build && { $(BIN)/jupyter-book build -W -n $(1) . >_build/log 2>&1 || { cat _build/log; exit 1; }; }

book: .venv/for-book
	@echo "building the book (about half a minute, less where little has changed)"
	@$(call BUILD)
	@echo "done: file://$(CURDIR)/_build/html/index.html"

lab: .venv/for-lab
	@PATH="$(CURDIR)/$(BIN):$$PATH" ./postBuild
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/chapters/start.ipynb

student: .venv/for-book
	@$(BIN)/python _ext/student.py

pdf: .venv/for-book
	@$(BIN)/python _ext/pdf.py

check: .venv/for-all
	@$(BIN)/python _ext/check.py $(CHAPTER)

test: .venv/for-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q $(TWO) --doctest-modules -m "not browser and not built" tests web3scale
	$(BIN)/pytest -q $(TWO) $(NBVAL) chapters
	rm -rf _build/html
	@$(call BUILD,--all)
	$(BIN)/pytest -q -m built tests/test_site.py
	$(BIN)/pytest -q -n 2 -m browser tests/browser

notebooks: .venv/for-all
	$(BIN)/python _ext/execute.py $(if $(MEASURED),--measured)

oldest newest:
	@$(PYTHON) tests/versions.py $@

# asks every server that the book names; a dead link is named with its page
links: .venv/for-book
	@mkdir -p _build && { $(BIN)/jupyter-book build --builder linkcheck . >_build/links.log 2>&1 || { grep -E "broken|ERROR" _build/links.log; exit 1; }; }

bench: .venv/for-all
	$(BIN)/python benchmarks/queues.py
	$(BIN)/python benchmarks/ledger.py

clean:
	rm -rf _build .venv chapters/api
