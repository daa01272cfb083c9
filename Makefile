# The verbs of the house. Each does all the set-up that it needs; `make` alone lists them.
#
# Needed on the machine: Python 3.11 or newer (with venv), a C compiler, cargo.

.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:
# Tests hold servers to deadlines: nothing is built or tested beside them, with -j neither.
.NOTPARALLEL:

# The first Python that is new enough, unless PYTHON names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# How many processes run the Python tests: a number, or auto.
JOBS ?= auto

VENV := .venv
BIN := $(VENV)/bin

# What runs the Python tests.
PYTEST ?= $(BIN)/python -m pytest

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# One interpreter for every cargo command, so that none of them builds the bindings anew.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

RUST_SOURCES := $(wildcard Cargo.toml Cargo.lock) \
	$(shell find crates -name '*.rs' -o -name '*.toml' -o -name build.rs)

ECHO_LOAD := target/release/echo-load

# Requirements of the extras named in EXTRAS, one a line, from pyproject.toml.
EXTRAS := test lint
REQUIREMENTS = import sys, tomllib; \
	extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
	print(*(line for name in sys.argv[1:] for line in extras[name]), sep="\n")

.PHONY: help
help: # List the verbs
	@awk -F '(:.*)? # ' '/^[a-z-]+:.* # / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.built # Serve the example site at http://127.0.0.1:8000 until Ctrl-C
	@echo "Boulder Python is served at http://127.0.0.1:8000; Ctrl-C ends it."
	@cd examples/boulder && PATH="$(CURDIR)/$(BIN):$$PATH" && export PATH && \
		exec monoceros --log-config config/logging.cfg --config config/gunicorn.py wsgi:app --preload

.PHONY: test
test: test-rust test-python # Run every test, Python and Rust

# The crate core-py is a Python extension: it has no libpython to link a test binary with, and
# is tested through Python.
.PHONY: test-rust
test-rust: $(VENV)/.requirements
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --exclude monoceros-core-py --no-tests=pass && \
		cargo test --doc --workspace --exclude monoceros-core-py; \
	else \
		cargo test --workspace --exclude monoceros-core-py; \
	fi

.PHONY: test-python
test-python: $(VENV)/.built
	$(PYTEST) -n $(JOBS)

.PHONY: soak
soak: $(VENV)/.built # Load of all kinds for ten minutes, attacks, uploads of 2 GiB; SECONDS=60 for less
	SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest -m soak tests/soak tests/integration

.PHONY: conformance
conformance: $(VENV)/.built # Autobahn's cases of WebSocket, on both loops; some minutes
	$(PYTEST) -n 0 -m conformance tests/conformance

# What the kernel seldom answers, on order: see crates/engine/src/faults.rs.
.PHONY: test-faults
test-faults: $(VENV)/.requirements # Run tests with faults of the kernel injected; WHOLE=1 for all of them
	tests/faults/run $(if $(WHOLE),--whole)

.PHONY: lint
lint: lint-python lint-rust # Check style and types, Python and Rust

.PHONY: lint-python
lint-python: $(VENV)/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict python/monoceros
	$(BIN)/mypy --strict benchmarks examples/boulder docs
	$(BIN)/python -m mypy.stubtest monoceros._core

.PHONY: lint-rust
lint-rust: $(VENV)/.requirements
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: docs
docs: $(VENV)/.requirements # Make docs/settings.md and docs/compat.md from the code
	PYTHONPATH=python $(BIN)/python docs/generate.py

.PHONY: bench
bench: $(VENV)/.built $(ECHO_LOAD) # Measure us beside our peers; QUICK=1 for a short run, ARGS="--only asgi" for a part
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(ARGS)

# The load of WebSocket messages.
$(ECHO_LOAD): $(VENV)/.requirements $(wildcard benchmarks/echo-load/Cargo.toml benchmarks/echo-load/src/*.rs)
	cargo build --quiet --release --package monoceros-echo-load
	@touch $@

.PHONY: fuzz
fuzz: $(VENV)/.requirements # Fuzz the parsers; ARGS go to fuzz/run
	fuzz/run $(ARGS)

.PHONY: build
build: $(VENV)/.requirements # Build the wheels into dist/: monoceros, and monoceros-gunicorn
	$(BIN)/maturin build --release --strip --interpreter $(BIN)/python --out dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./compat

.PHONY: clean
clean: # Remove what these verbs have built; what fuzzing has found stays
	rm -rf $(VENV) target dist fuzz/target benchmarks/.venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f python/monoceros/_core*.so
	find python tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, with what tests and linters need.
$(VENV)/.requirements: pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or newer found; name one with PYTHON=/path/to/python" >&2; exit 1; fi
	@if ! command -v cargo >/dev/null; then \
		echo "make: cargo not found; install Rust 1.88 or newer, then try again" >&2; exit 1; fi
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
	$(BIN)/python -c '$(REQUIREMENTS)' $(EXTRAS) > $@.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $@.txt
	rm $@.txt && touch $@

# The package itself, in place: Python files are used where they are, the engine is a release
# build that is made anew when its sources have changed.
$(VENV)/.built: $(VENV)/.requirements $(RUST_SOURCES)
	@echo "Building the engine (the first time takes a minute or two)."
	PIP_QUIET=1 $(BIN)/maturin develop --release --quiet
	@touch $@
