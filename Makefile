# make reproduce   run the paper at the size of PROFILE (mini, two CPU cores) and draw its tables and figures
# make grid        the ablations that take hours, and the stress setting; goes on where it was stopped
# make test        everything that is checked: lint, tests, the notebooks on the smoke profile
# make test-cluster  RL on a real Ray cluster of CPU processes, in .venv-cluster (needs g++ and ninja)
# make lab         the notebooks in JupyterLab
#
# Each sets up .venv by itself. PIP_ARGS goes to pip, for example for CPU wheels of torch:
#   make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_ARGS ?=
PROFILE ?= mini
SEEDS ?=
BIN := .venv/bin
STAMP := .venv/.installed
CLUSTER := .venv-cluster
CLUSTER_STAMP := $(CLUSTER)/.installed
CONDA ?= conda
# A file of tests stays in one worker, which makes what its tests share once.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup reproduce status publish grid test test-full test-cluster lint format lab figures verify gpu-env clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	@touch $@

reproduce: setup
	$(BIN)/r1reward run --profile $(PROFILE) $(if $(SEEDS),--seeds $(SEEDS))

grid: setup
	$(BIN)/r1reward run --profile $(PROFILE) 05b $(if $(SEEDS),--seeds $(SEEDS))

status: setup
	$(BIN)/r1reward status --profile $(PROFILE)

publish: setup
	$(BIN)/r1reward publish --profile $(PROFILE) $(if $(SEEDS),--seeds $(SEEDS))

test: lint
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-full: lint
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e ".[browser]"
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not cluster"

# openrlhf asks for flash-attn, which needs a CUDA compiler; the lock file has everything else.
$(CLUSTER_STAMP): tests/cluster/requirements.lock
	test -x $(CLUSTER)/bin/python || $(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps -r $<
	$(CLUSTER)/bin/python -m pip install --quiet --no-deps openrlhf==0.11.2 -e .
	@touch $@

test-cluster: $(CLUSTER_STAMP)
	DS_ACCELERATOR=cpu PYTHONPATH=tests/cluster/shim $(CLUSTER)/bin/python -m pytest -m cluster tests/cluster

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

lab: setup
	$(BIN)/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

figures: setup
	$(BIN)/r1reward figures

verify: setup
	$(BIN)/r1reward verify

gpu-env:
	$(CONDA) create -y -n r1reward -c conda-forge python=3.12 pip cuda-nvcc ninja git make
	$(CONDA) run -n r1reward pip install -c constraints.txt torch torchvision packaging setuptools wheel
	$(CONDA) run -n r1reward pip install --no-build-isolation flash-attn==2.8.3
	$(CONDA) env update -n r1reward -f environment.yml

clean:
	rm -rf .venv .venv-cluster .pytest_cache .ruff_cache .hypothesis *.egg-info
