# `make demo` and `make test` each set up everything from nothing.
.PHONY: demo test test-fast test-all matrix reliability gpu lint docs setup clean
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
INSTALL := install --no-deps -r requirements.txt -e .

# `make demo` trains a detector on drawn scenes; TASK=pose, seg or cls another network.
TASK ?= det
DEMO_det := mmdet/faster_rcnn_hrnetv2p_w32
DEMO_pose := mmpose/td-hm_hrnet-w18s_4xb32-210e_coco-256x192
DEMO_seg := mmseg/fcn_hr18s_4xb3-120k_cityscapes-512x1024
DEMO_cls := mmpretrain/hrnet-w18-small-v1_4xb64_in1k
DEMO = $(or $(DEMO_$(TASK)),$(error TASK=$(TASK) is unknown: use det, pose, seg or cls))

demo: setup
	$(PY) tools/train.py configs/$(DEMO).py --mini --work-dir work_dirs/demo_$(TASK)

# Two processes, which the tests of a file do not share: some of them follow one another.
test: lint
	$(PY) -m pytest -n 2 --dist loadfile

# Network, necks, checkpoints, deploy form and the order of the rooms, without compilers.
FAST := house hrnet necks checkpoints convert deploy
test-fast: setup
	$(PY) -m pytest -n 2 --dist loadfile $(FAST:%=tests/test_%.py) \
		-k 'not (compile or export or quantizes or context or whole or tool)'

test-all: lint
	$(PY) -m pytest -m ''

# The environments that users have, each built from the package index; LEGS="floor OneDL" are some.
matrix: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) tests/matrix.py $(LEGS) $(if $(LEGS),,--page docs/environments.md)

# What docs/reliability.md promises, measured; its table is written anew.
FIGURES := work_dirs/reliability.json
PROMISES := hostile config_text bad_input one_line resume kill_and_resume hooks distributed load
reliability: setup
	rm -f $(FIGURES)
	$(PY) -m pytest -m '' --figures $(FIGURES) $(PROMISES:%=tests/test_%.py)
	$(PY) tests/reliability_page.py $(FIGURES) docs/reliability.md

# What is right and how fast it is on the GPU of this machine, in 20 minutes; writes docs/gpu.md.
gpu: setup
	$(PY) tools/benchmark.py --gpu

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Pages of the Python interface; open site/index.html.
docs: setup
	$(PY) -W ignore docs/api.py site

setup: .venv/installed

.venv/installed: requirements.txt pyproject.toml setup.py
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "mmhrnet needs Python 3.10 to 3.13, this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	if command -v uv >/dev/null; then uv pip $(INSTALL) --python $(PY); else $(PY) -m pip $(INSTALL); fi
	touch $@

clean:
	rm -rf .venv site work_dirs .mypy_cache .pytest_cache .ruff_cache
