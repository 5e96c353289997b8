# Two commands do everything, set-up included:  make demo   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Idle OpenMP threads must sleep: spinning ones make every other process slow.
export OMP_WAIT_POLICY := passive

.PHONY: demo test test-slow setup lint clean

demo: $(READY)
	$(BIN)/recsys demo

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

setup: $(READY)

# pip installs torch and uv, uv the rest: exact versions, checked hashes, bytecode compiled once.
# A torch from an index of CUDA builds needs its libraries too; only then does the last step but one fetch them.
$(READY): requirements/bootstrap.lock requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/bootstrap.lock
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
		--require-hashes --compile-bytecode -r requirements/lock.txt
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(READY)

clean:
	rm -rf $(VENV) data/artifacts
