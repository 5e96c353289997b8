# Two commands do everything, set-up included:  make demo   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Idle OpenMP threads must sleep: spinning ones make every other process slow.
export OMP_WAIT_POLICY := passive

.PHONY: demo test test-slow setup peers lint clean

demo: $(READY)
	$(BIN)/recsys demo

# Two processes, a file of tests each: twice as quick on two cores, one thread of linear algebra for each.
# With COVERAGE=1 it also counts which lines they execute, and ends with a table by room.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(if $(COVERAGE),--cov=recsys --cov-report=)
	$(if $(COVERAGE),$(BIN)/python tools/rooms.py)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

setup: $(READY)

# Exact versions, checked hashes, bytecode compiled once. Torch comes as its CPU build where an index or PIP_FIND_LINKS
# has one, else as the registry's build with the libraries it needs.
$(READY): requirements/tools.lock requirements/torch-cpu.lock requirements/torch.lock requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/tools.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/torch-cpu.lock 2>/dev/null \
		|| $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/torch.lock
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
		--require-hashes --compile-bytecode -r requirements/lock.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(READY)

# Other libraries for recsys benchmark, each in an environment of its own: exact versions, checked hashes, wheels alone.
PEERS := data/peers
peers: $(PEERS)/implicit/.ready $(PEERS)/cornac/.ready $(PEERS)/lenskit/.ready

$(PEERS)/%/.ready: requirements/peers/%.txt requirements/torch-cpu.lock requirements/torch.lock | $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PEERS)/$*
	$(BIN)/uv pip install --quiet --python $(PEERS)/$*/bin/python --no-deps --require-hashes -r requirements/peers/$*.txt
	test $* = implicit \
		|| UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(PEERS)/$*/bin/python --no-deps \
			--require-hashes -r requirements/torch-cpu.lock 2>/dev/null \
		|| $(BIN)/uv pip install --quiet --python $(PEERS)/$*/bin/python --no-deps --require-hashes -r requirements/torch.lock
	touch $@

clean:
	rm -rf $(VENV)
