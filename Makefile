# Two commands are the whole set-up: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
T ?= $(shell cat tests/portable.txt)

.PHONY: run test t test-random coverage conformance lint docs bench fuzz soak build clean

# Builds, starts the echo server with a page to try it, and prints the address to open.
run: build
	$(BIN)/dorrit dev examples/echo.py

# Builds, installs what the tests need (Debian packages too, as root), and runs them all.
test: build
	sh tests/install $(BIN)/python
	$(BIN)/python -m pytest tests -n auto

# Some tests: make t T=tests/engine/test_queue.py. Without T, those that need no more than PyPI has.
t: build
	sh tests/install --pypi $(BIN)/python
	$(BIN)/python -m pytest $(T)

# All of them in another order each time, whose seed is printed at the end.
test-random: build
	sh tests/install $(BIN)/python
	$(BIN)/python -m pytest tests -n auto -p randomly

# What each module's own tests reach, branches included, against the list of what can't be reached.
coverage: build
	sh tests/install $(BIN)/python
	$(BIN)/python -m tests.coverage

# The whole Autobahn Testsuite, on all paths: some 20 minutes. Writes docs/conformance.md.
conformance: build
	sh tests/install $(BIN)/python
	$(BIN)/python -m tests.conformance

# What the tests check as well, but quickly.
lint: build
	sh tests/install --pypi $(BIN)/python
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.prose

# What the settings say in several places; then the reference, from the docstrings, the requirements and the states.
docs:
	$(PYTHON) docs/make_settings.py
	$(MAKE) build
	sh tests/install --pypi $(BIN)/python
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_requirements.py
	$(BIN)/python docs/make_life.py

# Server CPU for each message beside other servers, in one run: some minutes.
bench: build
	$(BIN)/pip install --quiet --requirement benchmarks/requirements.txt
	$(BIN)/python -m benchmarks --check
	$(BIN)/python -m benchmarks.topics
	$(BIN)/python -m benchmarks.pause

# Each fuzzer for that many seconds, one after the other; fuzz/README.md says more.
SECONDS ?= 600

fuzz: build
	$(BIN)/pip install --quiet --requirement tests/requirements.txt --requirement fuzz/requirements.txt
	$(BIN)/python -m fuzz.campaign $(SECONDS) $(FUZZERS)

# Three servers under all that clients and handlers may do, crashes included, for so long: nothing may
# be lost, and nothing be left behind. SEED=N has the scenes again of a run that printed it. Then two
# servers are reloaded so often, and crash so often, under the traffic of so many clients, of whom none
# may notice, and with a supervisor once more, whose worker is killed so often as well: some twenty
# minutes. Then a server's process ends at each store to its ledger.
SOAK_SECONDS ?= 3600
RESTARTS ?= 100
CLIENTS ?= 2000

soak: build
	sh tests/install $(BIN)/python
	$(BIN)/python -m tests.soak $(SOAK_SECONDS) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.live $(RESTARTS) $(CLIENTS)
	DORRIT_EVERY_STORE=1 $(BIN)/python -m pytest tests/test_variants.py -k any_store

# Compiles what has changed. An edit of a Python file needs nothing: the environment has links to the source.
build: $(VENV)/.built
	$(BIN)/python packaging/editable.py

# Installed by pip once, for the command, the metadata and what it depends on; the build folder is kept.
$(VENV)/.built: $(VENV)/.created meson.options LICENSE $(wildcard man/*) $(if $(wildcard build/venv/build.ninja),,not-built)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --no-build-isolation \
		-Cbuild-dir=build/venv '.[dev]'
	touch $@

.PHONY: not-built
not-built:

$(VENV)/.created: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet 'pip>=23.1' 'meson-python>=0.18' 'meson>=1.6' 'ninja>=1.11' 'cython>=3.1'
	touch $@

clean:
	rm -rf build $(VENV)
