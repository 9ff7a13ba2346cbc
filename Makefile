# meanfield-figures: `make` builds the report, `make test` runs the tests; both set everything up first.
# Needs Python 3.11, 3.12 or 3.13, make and git. Choose an interpreter with `make PYTHON=python3.12`.

SHELL := /bin/sh
CORES ?= all
VENV ?= .venv
RESULTS := results
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Numba keeps what it compiled in the working copy; no job needs a writable home.
export NUMBA_CACHE_DIR ?= $(CURDIR)/$(VENV)/numba
# Snakemake keeps a source cache in the user's cache folder; a read-only home must not stop us.
export XDG_CACHE_HOME ?= $(CURDIR)/$(VENV)/cache
# So that torch.compile, a peer of the benchmarks, compiles once.
export TORCHINDUCTOR_CACHE_DIR ?= $(CURDIR)/$(VENV)/torchinductor
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.DEFAULT_GOAL := report
.PHONY: report quick figure test reliability test-cluster cluster lint format lock bench bench-peers gallery archive verify clean distclean help

report: $(VENV)/ready ## build every figure and the report at full scale (the default)
	$(SNAKEMAKE)
	@echo "report: $(RESULTS)/report/report.pdf, and $(RESULTS)/report/report.html for the browser"
	@echo "figures: $(RESULTS)/figures/"

quick: $(VENV)/ready ## the same at a small scale, in quick/
	$(SNAKEMAKE) --profile profiles/quick
	@echo "report: quick/$(RESULTS)/report/report.pdf, and quick/$(RESULTS)/report/report.html for the browser"

figure: $(VENV)/ready ## one figure: make figure ID=fig02_isotropic_sgd
	@test -n "$(ID)" || { echo "say which: make figure ID=fig02_isotropic_sgd; make help lists the rest"; exit 2; }
	$(SNAKEMAKE) $(ID)

# The two processes of the tests find the kernels compiled; each would compile all of them for itself.
test: $(VENV)/ready-test ## run the whole test suite, in two processes
	@$(BIN)/python -c "from meanfield import caches; caches.warm_up(['float32', 'float64'])"
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

reliability: $(VENV)/ready-test ## try what can go wrong by the hundred; make reliability TRIAL=kills for one kind
	$(BIN)/python -m tests.reliability $(TRIAL)

test-cluster: $(VENV)/ready-test $(VENV)/ready-cluster ## run the workflow on a real Slurm of this one machine (needs root)
	$(BIN)/python -m pytest tests/cluster

lint: $(VENV)/ready-test ## check formatting, style and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: $(VENV)/ready-test ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

bench: $(VENV)/ready ## time the kernels against their peers and the machine, side by side (5 minutes)
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-peers: $(VENV)/ready ## install PyTorch and JAX too, so that make bench compares with them (a GB or more)
	$(PIP) --no-build-isolation --editable '.[bench]'

gallery: $(VENV)/ready ## renew the pictures and lists of figures in README and docs, and the rule graph
	$(SNAKEMAKE) gallery

archive: $(VENV)/ready ## pack what was built into one file for Zenodo; of the quick scale: make archive CONFIG=config/quick.yaml
	$(BIN)/python -m meanfield archive $(if $(CONFIG),--configfile $(CONFIG))

verify: $(VENV)/ready ## rebuild figures from an archive and compare: make verify ARCHIVE=file.zip [FIGURES="fig02_isotropic_sgd …"] [DEEP=1]
	@test -n "$(ARCHIVE)" || { echo "say which: make verify ARCHIVE=meanfield-figures-….zip"; exit 2; }
	$(BIN)/python -m meanfield verify "$(ARCHIVE)" $(FIGURES) $(if $(DEEP),--deep) $(if $(CHECK),--check) --cores $(CORES)

$(VENV)/ready: envs/build.lock envs/requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one with make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON) (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r envs/build.lock
	$(PIP) --require-hashes --no-deps --no-build-isolation -r envs/requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/ready-test: $(VENV)/ready envs/requirements-test.lock
	$(PIP) --require-hashes --no-deps --no-build-isolation -r envs/requirements-test.lock
	@touch $@

cluster: $(VENV)/ready-cluster ## install what profiles/slurm and profiles/pbs need

$(VENV)/ready-cluster: $(VENV)/ready envs/requirements-cluster.lock
	$(PIP) --require-hashes --no-deps --no-build-isolation -r envs/requirements-cluster.lock
	@touch $@

lock: ## renew the locks (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o envs/requirements.lock
	uv pip compile pyproject.toml --extra test -c envs/requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o envs/requirements-test.lock
	uv pip compile pyproject.toml --extra cluster -c envs/requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o envs/requirements-cluster.lock
	printf 'setuptools>=77\nwheel\n' | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o envs/build.lock

clean: ## remove what was generated: results, logs, the quick scale and Snakemake's records
	rm -rf $(RESULTS)/simulations $(RESULTS)/analysis $(RESULTS)/figures $(RESULTS)/report $(RESULTS)/benchmarks
	rm -rf quick logs .snakemake
	find src workflow_scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove the virtual environment
	rm -rf $(VENV) src/*.egg-info .pytest_cache .ruff_cache .hypothesis

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14
