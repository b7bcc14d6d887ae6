# make repro   set up, then run the pipeline          make ui     browse the runs
# make test    set up, then run the tests             make lint   check style and types
# make test-slow   the tests that take minutes: a server that dies, a queue of experiments, a few kills
# make test-kill   a pipeline that is killed two dozen times
# make test-cluster   a sweep over hosts in network namespaces (root, iproute2, PostgreSQL); -short: with two trials
# make test-attack   hostile input, leaks, broken stores: the quick ones are in make test, too
# make seeds, best-seeds   train both models with five seeds, as in the article and at their best
# make best    each model at its best (experiment best)      make ladder   what each idea on the way there bought
# make bench, bench-overhead, bench-scale   speed and memory         make docs   update the tables of the pages
# make weights   the trained weights that the package brings
# make audit   known vulnerabilities of the pinned packages
# Other than /bin/sh, so that macOS's make 3.81 starts it for every command: only a shell knows the PATH below.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 5000
VENV := .venv
READY := $(VENV)/.ready
# `dvc`, and the `python` that it runs stages with, must be those of the virtual environment.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: repro full seeds best best-seeds ladder test test-slow test-kill test-attack bench bench-overhead bench-scale ui lint audit clean setup constraints docs weights test-cluster test-cluster-short

repro: setup
	dvc repro

# After a run on the bundled digits: gets the full data set (MNIST_MIRROR, then the mirrors) and runs again.
full: setup
	dvc repro --force --single-item download
	dvc repro

# Trains both models with five seeds, one after another (three quarters of an hour). Run `make docs` afterwards.
seeds: setup
	dvc exp run --queue -S seed=0,1,2,3,4
	dvc exp run --run-all
	python -m condgen compare --claims
	python tests/update_seeds.py

# Each model at its best (recipes/best.yaml), as the DVC experiment `best`, beside the workspace.
best: setup
	python -m condgen recipe best

# The same with five seeds, one after another: the experiments best-seed-0 to best-seed-4.
best-seeds: setup
	for seed in 0 1 2 3 4; do python -m condgen recipe best -S seed=$$seed || exit 1; done
	python tests/update_seeds.py

# Every rung of recipes/ladder.yaml, one after another; then the table and its picture.
ladder: setup
	python -m condgen recipe ladder
	python -m condgen ladder --csv docs/ladder.csv --png docs/ladder.png

# Lists the lines of the package that no test ran in pytest's processes (stages and couriers are others). Two at a
# time, a file each: shared fixtures are made once a file, and the tests do not depend on a quiet machine.
test: setup
	python -m pytest -n 2 --dist loadfile --cov --cov-report=term-missing --cov-fail-under=95

# Speed against the usual loop and the matmul limit; 10 minutes, on a machine that does nothing else.
bench: setup
	python tests/benchmarks/bench.py

# Overhead of tracking and resume; 15 minutes, on a machine that does nothing else.
bench-overhead: setup
	python tests/benchmarks/overhead.py

test-slow: setup
	python -m pytest -m slow

test-kill: setup
	python -m pytest -m kill -s

test-cluster: setup
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[s3,server]"
	python -m pytest -m cluster -s -k "$(CLUSTER_TESTS)"

test-cluster-short:
	CONDGEN_TEST_TRIALS=2 $(MAKE) test-cluster CLUSTER_TESTS="doctor or trial_is or worker_host or secret"

# What a trial takes, the more experiments there are; as make test-cluster, on a machine that does nothing else.
bench-scale: setup
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[s3,server]"
	PYTHONPATH=tests python tests/cluster/scale.py

test-attack: setup
	python -m pytest -m attack

setup: $(READY)

# Installs again only if pyproject.toml or constraints.txt changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('condgen needs Python 3.11 or newer, but $(PYTHON) is %d.%d: try make PYTHON=python3.12' % sys.version_info[:2])"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	@touch $(READY)

# Listens on this machine only, and accepts only these host names, which prevents DNS rebinding. The artifact proxy is
# off: without a login anybody on this machine could replace files of models. MLflow's job execution is off: it would
# start seven processes of 240 MB.
ui: setup
	@echo "MLflow UI: http://127.0.0.1:$(PORT)/#/experiments/1/runs?viewStateShareKey=results&workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --backend-store-uri "sqlite:///$(CURDIR)/mlflow.db" \
		--host 127.0.0.1 --port $(PORT) --no-serve-artifacts --allowed-hosts "127.0.0.1:$(PORT),localhost:$(PORT)" --workers 1

lint: setup
	ruff check .
	ruff format --check .
	mypy

# Known vulnerabilities of the pinned packages. Needs a network, so no check includes it.
audit: setup
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[audit]" \
		|| { echo "make audit: pip-audit cannot be installed: is there a network?" >&2; exit 1; }
	pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
		|| { echo "make audit: findings are above; if there are none, the service cannot be reached" >&2; exit 1; }

# The tables and pictures of README.md and docs/, from the last run, `make seeds` and `make bench`.
docs: setup
	python tests/update_docs.py
	python tests/film_page.py

# What drawing needs of the last run's models, and of those of the experiment best, as files of the package.
weights: setup
	python tests/update_weights.py

# Deletes what can be made again, but not the runs (mlflow.db, mlartifacts), data/ and DVC's cache.
clean:
	rm -rf $(VENV) .coverage build dvc_plots .pytest_cache .hypothesis .mypy_cache .ruff_cache src/*.egg-info
	find . -name __pycache__ -type d -not -path "./.dvc/*" -prune -exec rm -rf {} +

# Pins the installed versions, after an upgrade by hand that passed the tests.
constraints:
	{ head -1 constraints.txt; python -m pip freeze --exclude-editable --exclude setuptools --exclude condgen; } > .constraints.new
	mv .constraints.new constraints.txt
