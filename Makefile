PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Where tests/support/versions.py looks for the oldest supported version of datasets.
OLDEST := $(VENV)/datasets-3.6/bin/python -m pip --quiet --disable-pip-version-check

# Further Pythons that make test-long tries, as far as they are installed.
PYTHONS ?= python3.10 python3.12 python3.13

.PHONY: demo test test-long test-pythons bench fuzz lint types install install-oldest clean

## demo: build the synthetic sample, load it with plain datasets, show it
demo: $(VENV)/runtime.stamp install
	$(BIN)/platelet-em build demo/repo --sample
	$(BIN)/platelet-em show demo/repo --z 5 --out demo
	$(BIN)/python -I examples/demo.py demo/repo

## test: everything that CI runs
test: $(VENV)/test.stamp install install-oldest lint types
	$(BIN)/pytest -n auto -m "not long"

## test-long: what is repeated in earnest, or needs more of a machine; about an hour
test-long: $(VENV)/test.stamp install install-oldest fuzz test-pythons
	PLATELET_EM_KILLS=25 $(BIN)/pytest -n auto

# What has no compiled extras, on other Pythons.
test-pythons:
	for python in $(PYTHONS); do \
	  if command -v $$python > /dev/null; then \
	    $$python -m venv $(VENV)/$$python && \
	    $(VENV)/$$python/bin/python -m pip install --quiet --disable-pip-version-check \
	      . pytest pytest-xdist hypothesis scikit-image imagecodecs && \
	    $(VENV)/$$python/bin/pytest -n auto -m "not long" \
	      tests/arrays tests/publisher tests/rows tests/verify tests/commands || exit 1; \
	  fi; \
	done

## bench: lazy labels, samples and windows, beside the publisher's way, NumPy and the peers
bench: $(VENV)/bench.stamp install
	$(BIN)/python benchmarks/labels.py
	$(BIN)/python benchmarks/loading.py
	$(BIN)/python benchmarks/windows.py

## fuzz: millions of damaged inputs; minutes to an hour
fuzz: $(VENV)/test.stamp install
	$(BIN)/python tests/support/fuzz.py

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

# What is tested and shown is the wheel, made anew from what lies here.
install: $(VENV)/runtime.stamp
	$(PIP) install --no-deps --force-reinstall .

install-oldest: $(VENV)/datasets-3.6.stamp
	$(OLDEST) install --no-deps --force-reinstall .

$(VENV)/runtime.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install .
	touch $@

$(VENV)/test.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install '.[test]'
	touch $@

$(VENV)/datasets-3.6.stamp: pyproject.toml
	test -x $(VENV)/datasets-3.6/bin/python || $(PYTHON) -m venv $(VENV)/datasets-3.6
	$(OLDEST) install . datasets==3.6.0
	touch $@

$(VENV)/bench.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
