# Needs Python 3.10 or newer, with pip, and make; everything else goes into .venv directories here.
# REDIS_URL=redis://… makes `test` and `demo` use that server instead of an embedded one.

PYTHON ?= python3
VENV := .venv
BIN = $(VENV)/bin
# Each worker has an embedded Redis of its own; a server that is shared has one.
WORKERS = $(if $(REDIS_URL),0,auto)

.DEFAULT_GOAL := help
.PHONY: help test test-acl test-faults chaos sizing lint format docs demo test-lowest compare \
	bench bench-search clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

test: lint  ## Check the code, then run the tests
	$(BIN)/pytest -q -n $(WORKERS)

# The examples and benchmarks are administrators, of keys of their own.
test-acl: $(VENV)/test.stamp  ## Run the tests as the user of docs/acl.conf
	REDIS_ACL=1 $(BIN)/pytest -q -n auto --ignore=tests/faults --ignore=tests/test_embedded.py \
		--ignore=tests/test_examples.py --ignore=tests/test_benchmarks.py

chaos: $(VENV)/test.stamp  ## Let processes work on the same threads for a minute
	CHAOS_SECONDS=60 $(BIN)/pytest -q tests/test_chaos.py

test-faults: $(VENV)/test.stamp  ## Try each fault many times, and write docs/reliability.md
	$(BIN)/python tests/faults/report.py

sizing: $(VENV)/test.stamp  ## Measure the memory of messages, checkpoints and threads, in docs/deployment.md
	$(BIN)/python benchmarks/sizing.py

lint: $(VENV)/test.stamp  ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict langgraph_redis_json

format: $(VENV)/test.stamp  ## Put the code into its standard format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/test.stamp  ## Write the examples in docs/documents.md anew
	$(BIN)/python docs/generate.py

demo: $(VENV)/demo.stamp  ## Run the quickstart on a real Redis
	$(BIN)/python examples/quickstart.py

test-lowest: VENV := .venv-lowest
test-lowest: .venv-lowest/lowest.stamp  ## Run the tests on the oldest versions of our dependencies
	$(BIN)/pytest -q -n $(WORKERS)

compare: VENV := .venv-compare
compare: .venv-compare/compare.stamp  ## Set this saver beside LangGraph's others, in docs/comparison.md
	$(BIN)/python benchmarks/compare.py

bench: VENV := .venv-bench
bench: .venv-bench/bench.stamp  ## Measure this saver beside the others, in docs/performance.md
	$(BIN)/python benchmarks/values.py
	$(BIN)/python benchmarks/floors.py
	$(BIN)/python benchmarks/lifetimes.py
	$(BIN)/python benchmarks/bench.py

bench-search: VENV := .venv-bench
bench-search: .venv-bench/bench.stamp  ## Search a million checkpoints, in docs/search.md
	$(BIN)/python benchmarks/search.py

clean:  ## Remove the environments and caches
	rm -rf .venv .venv-lowest .venv-compare .venv-bench dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's Python has no ensurepip unless python3-venv is installed, but its pip can install into
# an environment that has none.
%/pip.stamp:
	$(PYTHON) -m venv --clear --without-pip $*
	$*/bin/python -m ensurepip >$*/ensurepip.log 2>&1 || \
		$(PYTHON) -m pip --python $*/bin/python install --quiet pip
	touch $@

%/test.stamp: %/pip.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

%/demo.stamp: %/pip.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable '.[demo]'
	touch $@

%/compare.stamp: %/pip.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable '.[compare]'
	touch $@

%/bench.stamp: %/pip.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable '.[bench]'
	touch $@

%/lowest.stamp: %/pip.stamp pyproject.toml
	$*/bin/python -m pip install --quiet uv
	$*/bin/uv pip install --python $*/bin/python --quiet --resolution lowest-direct --editable '.[test]'
	touch $@

.PRECIOUS: %/pip.stamp
