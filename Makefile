PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The environment with each dependency in its lowest version, by the lower bounds in pyproject.toml,
# and so with the oldest supported datasets; tests/support/versions.py looks for it there.
OLDEST := $(VENV)/lowest/bin/python -m pip --quiet --disable-pip-version-check
# These versions have wheels for Python 3.10 and 3.11.
LOWEST_PYTHON := $(firstword $(foreach python,python3.11 python3.10 $(PYTHON),\
  $(shell $(python) --version > /dev/null 2>&1 && echo $(python))))
LOWEST := $(shell sed -n '/^dependencies = \[/,/^\]/s/^ *"\([^>]*\)>=\([^;"]*\).*",/\1==\2/p' pyproject.toml)

# What the tests need that run in other environments.
FAST_TESTS := pytest pytest-xdist hypothesis scikit-image imagecodecs 'dask[array]' matplotlib \
  jsonschema markdown-it-py trustme argcomplete

# What is run once more without the compiled loops; make test-long runs everything so.
NUMPY_TESTS := tests/arrays tests/hf/test_formatter.py --ignore tests/arrays/test_compiled.py

# Tests of a file stay in one process as far as possible, which makes its fixtures once.
PYTEST := $(BIN)/pytest -n auto --dist worksteal

# Other Pythons for make test-long, as far as they are installed.
PYTHONS ?= python3.10 python3.12 python3.13

.PHONY: demo test test-long test-pythons test-napari test-nnunet test-torch-em bench fuzz lint types docs dist install install-oldest clean

## demo: build the synthetic sample, load it with plain datasets, show it
demo: $(VENV)/runtime.stamp install
	$(BIN)/platelet-em build demo/repo --sample --force
	$(BIN)/python -I examples/demo.py demo/repo
	@echo
	@echo "A picture of this slice, with its labels:"
	@$(BIN)/platelet-em show demo/repo --z 5 --out demo
	@echo "Go on with README.md, or with:"
	@echo "  $(BIN)/platelet-em show demo/repo --z all --out demo"
	@echo "  $(BIN)/platelet-em info demo/repo"
	@echo "  $(BIN)/platelet-em --help"

## test: everything that CI runs; independent steps run two at a time
test:
	$(MAKE) -j2 $(VENV)/test.stamp $(VENV)/lowest.stamp
	$(MAKE) -j2 install install-oldest
	$(MAKE) -j2 lint types docs
	$(PYTEST) -m "not long"
	PLATELET_EM_KERNELS=numpy $(PYTEST) -m "not long" $(NUMPY_TESTS)

## test-long: all tests, with more repetitions and larger inputs; about an hour
test-long: $(VENV)/test.stamp install install-oldest fuzz test-pythons test-napari \
    test-nnunet test-torch-em dist
	$(PYTEST)
	PLATELET_EM_KERNELS=numpy $(PYTEST) --ignore tests/arrays/test_compiled.py

# Lazy arrays and the reader in napari, where a virtual screen (xvfb) is installed; its own plugins
# warn.
test-napari:
	if xvfb-run --help > /dev/null; then \
	  $(PYTHON) -m venv $(VENV)/napari && \
	  $(VENV)/napari/bin/python -m pip install --quiet --disable-pip-version-check \
	    . 'napari[pyqt6]>=0.6' $(FAST_TESTS) && \
	  xvfb-run -a $(VENV)/napari/bin/python -m pytest -W ignore tests/arrays/test_napari.py \
	    tests/export/test_napari.py; \
	fi

# nnU-Net reads exports; it needs PyTorch and 60 packages more.
test-nnunet:
	$(PYTHON) -m venv $(VENV)/nnunet
	$(VENV)/nnunet/bin/python -m pip install --quiet --disable-pip-version-check \
	  . torch==2.13.0 'nnunetv2>=2.6' $(FAST_TESTS)
	$(VENV)/nnunet/bin/python -m pytest tests/export/test_nnunet_tool.py

# torch-em trains from an export; it needs a hundred packages.
test-torch-em:
	$(PYTHON) -m venv $(VENV)/torch-em
	$(VENV)/torch-em/bin/python -m pip install --quiet --disable-pip-version-check \
	  '.[hdf5]' torch==2.13.0 'torch-em>=0.10' $(FAST_TESTS)
	$(VENV)/torch-em/bin/python -m pytest tests/export/test_torch_em.py

# The demo, and tests that need no PyTorch, on other Pythons.
test-pythons:
	for python in $(PYTHONS); do \
	  if $$python --version > /dev/null 2>&1; then \
	    $$python -m venv $(VENV)/$$python && \
	    $(VENV)/$$python/bin/python -m pip install --quiet --disable-pip-version-check \
	      '.[hdf5,ome-zarr]' pycocotools $(FAST_TESTS) && \
	    $(VENV)/$$python/bin/platelet-em build $(VENV)/$$python/demo --sample --force && \
	    $(VENV)/$$python/bin/python -I examples/demo.py $(VENV)/$$python/demo && \
	    $(VENV)/$$python/bin/pytest -n auto -m "not long" \
	      --deselect tests/arrays/test_labels.py::test_workers_send_strings_and_not_voxels \
	      tests/arrays tests/publisher tests/rows tests/verify tests/commands tests/export \
	      || exit 1; \
	  fi; \
	done

## bench: lazy labels, samples and windows, compared with the publisher's way, NumPy and peers
bench: $(VENV)/bench.stamp install
	$(BIN)/python benchmarks

## fuzz: millions of damaged inputs; minutes to an hour
fuzz: $(VENV)/test.stamp install
	PYTHONPATH=tests $(BIN)/python -m support.fuzz

## docs: the site in docs/_build; a broken link or a missing name is an error
docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -q -W -n --keep-going docs docs/_build

## dist: sdist and wheel in dist/, checked
dist: $(VENV)/dist.stamp
	rm -rf dist
	$(BIN)/python .ci/dist.py

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

# Tests and the demo use the wheel, built from this checkout.
install: $(VENV)/runtime.stamp
	$(PIP) install --no-deps --force-reinstall .

install-oldest: $(VENV)/lowest.stamp
	$(OLDEST) install --no-deps --force-reinstall .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: pyproject.toml | $(BIN)/python
	$(PIP) install .
	touch $@

# For make test: with docs, in one installation, and with what the commands need.
$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(PIP) install '.[test,docs]'
	touch $@ $(VENV)/runtime.stamp $(VENV)/docs.stamp

$(VENV)/lowest.stamp: pyproject.toml | $(BIN)/python
	test -x $(VENV)/lowest/bin/python || $(LOWEST_PYTHON) -m venv $(VENV)/lowest
	$(OLDEST) install . $(LOWEST) $(FAST_TESTS)
	touch $@

$(VENV)/docs.stamp: pyproject.toml | $(BIN)/python
	$(PIP) install '.[docs]'
	touch $@

$(VENV)/dist.stamp: pyproject.toml | $(BIN)/python
	$(PIP) install '.[dist]'
	touch $@

$(VENV)/bench.stamp: pyproject.toml | $(BIN)/python
	$(PIP) install '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) demo dist build docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
