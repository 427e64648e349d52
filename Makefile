# On a fresh machine with python3 and python3-venv every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# More than the cores: many tests of the drivers wait for an instrument's deadline.
WORKERS ?= 4
# Many slow tests run a whole link, of three programs that keep each other waiting: more at once hold each other up.
SLOW_WORKERS ?= 2

.PHONY: demo test test-slow soak lint bench hil clean

demo: $(READY)
	$(BIN)/qnoded demo

test: $(READY)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow and not soak"

test-slow: $(READY)
	$(BIN)/pytest -n $(SLOW_WORKERS) --dist worksteal -m "slow and not soak"

# Hours of kills and bad luck: before a release, not for each change.
soak: $(READY)
	$(BIN)/pytest -m soak

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The suite of a rig on emulated instruments; on real ones: docs/hil.md.
hil: $(READY)
	$(BIN)/qnoded hil run hil/example.toml

bench: $(READY)
	$(BIN)/qnoded bench

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@echo "compiling the kernels for this machine, once: about half a minute"
	$(BIN)/python -c "import qnoded.sim.world, qnoded.node.warming as warming; warming.warm(map)"
	touch $@

clean:
	rm -rf $(VENV) out
