# Everything from a bare machine with Python 3.11 or newer and make; `make help` lists the targets.
PYTHON ?= python3

# .venv has everything for work on elmgan. .venv-demo has only what users install, so the demo proves that this is enough.
DEVELOPMENT = .venv
RUNTIME = .venv-demo

# Exact versions, for the packages that build elmgan too (newer versions of pip take those from the second variable).
export PIP_CONSTRAINT = constraints.txt
export PIP_BUILD_CONSTRAINT = constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test lint format docs clean
help:
	@echo "make demo     count synthetic cells with the bundled model (installs the runtime into $(RUNTIME))"
	@echo "make test     check style, format and types, run all tests (installs everything into $(DEVELOPMENT))"
	@echo "make lint     check style, format and types only"
	@echo "make format   put the code into the common format"
	@echo "make docs     build the documentation as a site, site/index.html, and check its links"
	@echo "make clean    remove the environments, the demo's output and all caches"
	@echo "With another Python: make demo PYTHON=python3.12"

demo: $(RUNTIME)/installed
	$(RUNTIME)/bin/python examples/demo.py

test: lint
	OMP_NUM_THREADS=1 $(DEVELOPMENT)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(DEVELOPMENT)/installed
	$(DEVELOPMENT)/bin/ruff check
	$(DEVELOPMENT)/bin/ruff format --check
	$(DEVELOPMENT)/bin/mypy

format: $(DEVELOPMENT)/installed
	$(DEVELOPMENT)/bin/ruff check --fix
	$(DEVELOPMENT)/bin/ruff format

docs: $(DEVELOPMENT)/installed
	NO_MKDOCS_2_WARNING=1 $(DEVELOPMENT)/bin/mkdocs build --quiet

clean:
	rm -rf $(DEVELOPMENT) $(RUNTIME) .venv-czi .venv-bioimageio .venv-onnxruntime-web-* demo-out build site dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples -name __pycache__ -prune -exec rm -rf {} +

# Editable installs: a change in src counts at once, only other requirements install again.
$(DEVELOPMENT)/installed: REQUIREMENT = .[dev]
$(RUNTIME)/installed: REQUIREMENT = .
$(DEVELOPMENT)/installed $(RUNTIME)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "elmgan needs Python 3.11 or newer, and '$(PYTHON)' is not: name one, as in make demo PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing elmgan and what it needs into $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --editable "$(REQUIREMENT)"
	@touch $@
