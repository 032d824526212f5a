# `make demo` and `make test` each set up everything from nothing.
.PHONY: demo test test-all lint setup clean
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
INSTALL := install --no-deps -r requirements.txt -e .

demo: setup
	$(PY) tools/train.py configs/mmdet/faster_rcnn_hrnetv2p_w32.py --mini --work-dir work_dirs/demo

test: lint
	$(PY) -m pytest

test-all: lint
	$(PY) -m pytest -m ''

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

setup: .venv/installed

.venv/installed: requirements.txt pyproject.toml setup.py
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "mmhrnet needs Python 3.10 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	if command -v uv >/dev/null; then uv pip $(INSTALL) --python $(PY); else $(PY) -m pip $(INSTALL); fi
	touch $@

clean:
	rm -rf .venv work_dirs .mypy_cache .pytest_cache .ruff_cache
