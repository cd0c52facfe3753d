# The whole job from a fresh clone: `make train`. Needs make, Python 3.10 or newer, and nothing compiled.
PYTHON ?= python3
CONFIG ?= configs/upernet_convnext_atto_sample.py
ARGS ?=

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --no-deps
export PIP_ROOT_USER_ACTION := ignore
# Without isolation a source build would see torch, and mmcv would start to compile.
unexport PIP_NO_BUILD_ISOLATION

.PHONY: help setup train pretrain-transfer lint format test test-openmmlab clean
.NOTPARALLEL:

help:
	@echo 'make setup           make .venv from requirements/onedl.txt (PYTHON=python3.12 to choose the interpreter)'
	@echo 'make train           train, evaluate and draw; CONFIG=... for another config, ARGS="--seed 1" for its options'
	@echo 'make pretrain-transfer  pretrain a classifier, then train segmentation with and without its weights'
	@echo 'make lint            check format, style and types; make format mends what can be mended'
	@echo 'make test            run the tests; ARGS="-k backbone" to choose, ARGS="-m slow" for the long ones'
	@echo 'make test-openmmlab  the same tests on the original OpenMMLab releases'
	@echo 'make clean           remove the environments and caches (data/ and work_dirs/ stay)'

setup: .venv/.ready
	@echo '.venv is ready'

train: .venv/.ready
	@case '$(CONFIG)' in *_sample.py) $(PY) tools/prepare_data.py sample --config '$(CONFIG)';; esac
	@$(PY) tools/train.py $(CONFIG) $(ARGS)

pretrain-transfer: .venv/.ready
	@$(PY) tools/prepare_data.py sample --config configs/convnext_atto_sample.py
	@$(PY) tools/prepare_data.py sample --config configs/upernet_convnext_atto_sample.py
	@$(PY) tools/pretrain_transfer.py $(ARGS)

lint: .venv/.ready-to-lint
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

format: .venv/.ready-to-lint
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

test: .venv/.ready-to-test .peers/.ready
	@$(PY) -m pytest $(ARGS)

test-openmmlab: .venv/.ready-to-test .peers/.ready .overlay/.ready
	@PYTHONPATH="$(CURDIR)/.overlay" $(PY) -m pytest $(ARGS)

clean:
	rm -rf .venv .overlay .peers .pytest_cache build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is written last: what was interrupted has none and is made again from nothing.
.venv/.locked: requirements/base.txt requirements/onedl.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "Python 3.10 or newer is needed, '$(PYTHON)' is not. Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo 'Setting up .venv from requirements/onedl.txt: some minutes, about 5 GB, most of it torch and CUDA'
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) -r requirements/onedl.txt
	@touch $@

.venv/.ready: .venv/.locked setup.py setup.cfg pyproject.toml
	@$(PIP) -e .
	@touch $@

.venv/.ready-to-test: .venv/.ready requirements/test.txt
	@$(PIP) -r requirements/test.txt
	@touch $@

.venv/.ready-to-lint: .venv/.ready requirements/lint.txt
	@$(PIP) -r requirements/lint.txt
	@touch $@

# Only the four mm* packages, put before the others on the path. mmsegmentation's wheel brings its tests: not wanted.
.overlay/.ready: .venv/.locked requirements/openmmlab.txt
	@echo 'Setting up .overlay with the original mm* packages of requirements/openmmlab.txt'
	@rm -rf .overlay
	@grep '==' requirements/openmmlab.txt | $(PIP) --target .overlay -r /dev/stdin
	@rm -rf .overlay/tests
	@touch $@

.peers/.ready: .venv/.locked requirements/peers.txt
	@rm -rf .peers
	@$(PIP) --target .peers -r requirements/peers.txt
	@touch $@
