# make demo    teach the built-in model eight languages on real data and write report/index.html
# make test    run the test suite, two processes side by side
# make check   ruff, mypy, layering, file sizes, generated docs, the site without a warning
# make docs    the documentation as a site, in build/site
# make bench   speed, against the published way of working; about 18 minutes
# make clean   remove everything that the other targets made
#
# Needs Python >= 3.11 and make; everything else is installed into .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
INSTALLED := $(VENV)/.installed

.PHONY: demo test check docs bench clean install
.DEFAULT_GOAL := demo

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "babelclip needs Python 3.11 or newer, this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/babelclip demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python dev/check.py
	$(SITE)

docs: $(INSTALLED)
	$(SITE)
	@echo "Open file://$(CURDIR)/build/site/index.html"

bench: $(INSTALLED)
	$(BIN)/python bench/core.py

clean:
	rm -rf $(VENV) build report .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
