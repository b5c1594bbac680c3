# GAInS. `make train` does everything on a fresh machine; ARGS="key=value ..." passes Hydra overrides on.
ARGS ?=
VENV ?= .venv
# Python 3.11 to 3.14, whichever is there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup train eval predict prepare score compare test test-slow test-versions coverage lint docs benchmark clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 16

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12, 3.13 or 3.14 is needed and was not found; pass PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (once; downloads torch, about 5 GB installed)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@df -Pm $(VENV) | awk 'NR == 2 && $$4 < 8000 { print "8 GB are needed for the packages and " $$4 " MB are free: make room, or choose another place with VENV=/path"; exit 1 }'
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --progress-bar on --editable '.[dev,docs]'
	@touch $(STAMP)

setup: $(STAMP)  ## create the environment in .venv

train: $(STAMP)  ## train and evaluate; by default GAInS on generated cells
	$(BIN)/gains train $(ARGS)

eval: $(STAMP)  ## evaluate a checkpoint: make eval ARGS="checkpoint=PATH"
	$(BIN)/gains eval $(ARGS)

predict: $(STAMP)  ## segment images: make predict ARGS="checkpoint=PATH input=FOLDER output=FOLDER"
	$(BIN)/gains predict $(ARGS)

prepare: $(STAMP)  ## bring a data set into the common form: make prepare ARGS="dataset=coco dataset.source=FILE"
	$(BIN)/gains prepare $(ARGS)

score: $(STAMP)  ## score any tool's predictions: make score ARGS="ground_truth=gt.json predictions=pred.json"
	$(BIN)/gains score $(ARGS)

compare: $(STAMP)  ## methods x data sets x seeds to one table: make compare ARGS="models=[mask_rcnn,gains]"
	$(BIN)/gains compare $(ARGS)

# Two processes of one thread each: on two cores faster than one process of two threads.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test: $(STAMP)  ## run the tests, notebooks included, but the slow ones (ARGS="-m ''" runs those too)
	$(TEST) -m "not slow" $(ARGS)

test-slow: $(STAMP)  ## run the slow tests: long trainings, several processes, thousands of broken files
	$(TEST) -m slow $(ARGS)

coverage: $(STAMP)  ## run all tests and print which lines none of them reaches
	$(TEST) --cov=gains --cov-report=term-missing:skip-covered $(ARGS)

test-versions:  ## run all tests with the lowest versions that pyproject.toml allows, then with the newest
	@test -x .versions/uv/bin/uv || { $(PYTHON) -m venv .versions/uv && .versions/uv/bin/python -m pip install --quiet uv; }
	@for resolution in lowest-direct highest; do \
		environment=.versions/$$resolution; echo "versions: $$resolution"; \
		.versions/uv/bin/uv venv --quiet --clear --python $(PYTHON) $$environment && \
		.versions/uv/bin/uv pip install --quiet --python $$environment/bin/python --resolution $$resolution --editable '.[dev]' && \
		OMP_NUM_THREADS=1 $$environment/bin/python -m pytest --numprocesses 2 --dist worksteal $(ARGS) || exit 1; \
	done

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## build the documentation site in site/; a broken link is an error
	$(BIN)/zensical build --strict --clean

benchmark: $(STAMP)  ## measure speed and memory: make benchmark ARGS="gamm|metrics|train_step|inference|models"
	$(BIN)/python scripts/benchmark.py $(ARGS)

clean:  ## remove the environment and caches; data, outputs and checkpoints stay
	rm -rf $(VENV) .versions build dist site .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
