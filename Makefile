# Needs make and Python 3.10 or newer with pip. Everything else is installed into .venv directories.
# REDIS_URL=redis://… makes `test` and `demo` use that server instead of an embedded one.

PYTHON ?= python3
VENV := .venv
BIN = $(VENV)/bin
# Each worker starts its own embedded Redis. On a shared server the tests run one at a time.
WORKERS = $(if $(REDIS_URL),0,auto)
GENERATED = langgraph_redis_json/saver.py

.DEFAULT_GOAL := help
.PHONY: help test pytest browser test-acl test-cluster test-faults chaos sizing migrating lint format generate \
	docs site demo test-lowest compare bench bench-search bench-messages bench-export dist smoke clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

test: lint pytest  ## Check style, format and types, then run all tests (about 6 minutes on 2 cores)

pytest: $(VENV)/dev.stamp browser  ## Run all tests
	$(BIN)/pytest -q -n $(WORKERS)

# Tests look at the page of `export --html` in Chromium. Where they find none they are skipped, and say why.
browser:  ## Install Chromium for the tests, where apt can
	@{ command -v chromium && command -v chromedriver; } >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
				chromium chromium-driver; } || \
		echo "There is no Chromium, and it cannot be installed: the tests of the page are skipped."

# The examples and benchmarks need more rights, and use other keys.
test-acl: $(VENV)/dev.stamp  ## Run the tests as the user of docs/acl.conf
	REDIS_ACL=1 $(BIN)/pytest -q -n auto --ignore=tests/faults --ignore=tests/test_embedded.py \
		--ignore=tests/project/test_examples.py --ignore=tests/project/test_benchmarks.py

chaos: $(VENV)/dev.stamp  ## Let several processes work on the same threads for a minute
	CHAOS_SECONDS=60 $(BIN)/pytest -q tests/end_to_end/test_chaos.py

test-faults: $(VENV)/dev.stamp  ## Cause each fault many times, and write docs/reliability.md
	$(BIN)/python tests/faults/report.py

# KILL=1 also kills a primary, if the nodes run on this machine; the cluster is broken afterwards.
test-cluster: $(VENV)/dev.stamp  ## Run the tests for a Redis 8 cluster: CLUSTER_URL=redis://host:port
	@test -n "$(CLUSTER_URL)" || { echo "say which: make test-cluster CLUSTER_URL=redis://host:port" >&2; exit 2; }
	CLUSTER_URL=$(CLUSTER_URL) KILL=$(KILL) $(BIN)/pytest -q tests/cluster

sizing: $(VENV)/dev.stamp  ## Measure memory, and write the figures in docs/deployment.md
	$(BIN)/python benchmarks/sizing.py

migrating: $(VENV)/dev.stamp  ## Measure migrations, and write the figures in docs/migrating.md
	$(BIN)/python benchmarks/migrating.py

lint: $(VENV)/dev.stamp  ## Check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/dev.stamp  ## Format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: $(VENV)/dev.stamp  ## Write saver.py from aio.py
	$(BIN)/python tools/generate_sync.py
	$(BIN)/ruff format --quiet $(GENERATED)

docs: $(VENV)/dev.stamp  ## Write the examples in docs/documents.md, command-line.md and walk.md
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/command_line.py

site: $(VENV)/dev.stamp  ## Build the documentation site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

demo: $(VENV)/demo.stamp  ## Run the quickstart on a real Redis
	$(BIN)/python examples/quickstart.py

test-lowest: VENV := .venv-lowest
test-lowest: .venv-lowest/lowest.stamp browser  ## Run all tests with the oldest supported versions of the dependencies
	$(BIN)/pytest -q -n $(WORKERS)

compare: VENV := .venv-compare
compare: .venv-compare/compare.stamp  ## Compare this saver with LangGraph's others, and write docs/comparison.md
	$(BIN)/python benchmarks/compare.py

bench: VENV := .venv-bench
bench: .venv-bench/bench.stamp  ## Measure this saver and the others, and write docs/performance.md
	$(BIN)/python benchmarks/values.py
	$(BIN)/python benchmarks/floors.py
	$(BIN)/python benchmarks/lifetimes.py
	$(BIN)/python benchmarks/bench.py

bench-search: VENV := .venv-bench
bench-search: .venv-bench/bench.stamp  ## Search a million checkpoints, and write the figures in docs/search.md
	$(BIN)/python benchmarks/search.py

bench-messages: VENV := .venv-bench
bench-messages: .venv-bench/bench.stamp  ## Search a million messages, and write the figures in docs/search.md
	$(BIN)/python benchmarks/messages.py

bench-export: $(VENV)/dev.stamp  ## Measure the memory of export and import, and write it in docs/export.md
	$(BIN)/python benchmarks/export_memory.py

dist smoke: VENV := .venv-release
dist: .venv-release/release.stamp  ## Build the wheel and the sdist in dist/, and check them
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# In an environment that has the wheel, its dependencies, and nothing of this folder.
smoke: dist  ## Build the wheel, install it alone on PYTHON, and use it
	rm -rf .venv-smoke
	$(PYTHON) -m venv --without-pip .venv-smoke
	$(BIN)/python -m pip --python .venv-smoke/bin/python install --quiet "$$(echo dist/*.whl)[embedded]"
	cd .venv-smoke && bin/python ../tools/smoke.py "$$(../$(BIN)/python -c \
		'from pathlib import Path; print(next(Path("../dist").glob("*.whl")).name.split("-")[1])')"

clean:  ## Remove the environments, caches, dist/ and site/
	rm -rf .venv .venv-lowest .venv-compare .venv-bench .venv-release .venv-smoke dist site \
		.hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's Python has no ensurepip unless python3-venv is installed, but its pip can install pip into
# an environment that has none. Dependency groups need pip 25.1.
%/venv.stamp:
	$(PYTHON) -m venv --clear --without-pip $*
	$*/bin/python -m ensurepip >$*/ensurepip.log 2>&1 || \
		$(PYTHON) -m pip --python $*/bin/python install --quiet pip
	$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

%/dev.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable . --group dev
	touch $@

%/demo.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable . --group demo
	touch $@

%/compare.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable . --group compare
	touch $@

%/bench.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --editable . --group bench
	touch $@

%/release.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet --group release
	touch $@

# The tools for documentation and style come in their newest versions: users do not install them.
%/lowest.stamp: %/venv.stamp pyproject.toml
	$*/bin/python -m pip install --quiet uv --group docs --group lint
	$*/bin/uv pip install --python $*/bin/python --quiet --resolution lowest-direct \
		--editable . --group test
	touch $@

.PRECIOUS: %/venv.stamp
