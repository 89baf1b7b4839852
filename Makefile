# Everything starts here: each target first makes .venv and installs rnnc into it, once.
# Needs make and Python >= 3.11; `make PYTHON=/path/to/python3.12 test` picks another Python.

enough := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
newest = $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" $(enough) 2>/dev/null && echo "$$p" && break; done)
PYTHON ?= $(newest)
PYTEST ?=
BENCH ?=

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The environment is ours alone: nothing from the caller's Python leaks in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# One thread a process: the tests run one worker a core.
test: export OMP_NUM_THREADS := 1
test: export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-triton gpu test-browser chromium gallery check fuzz bench mutations format install clean
.DELETE_ON_ERROR:

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | \
		while IFS="$$(printf '\t')" read -r name words; do printf '  make %-13s %s\n' "$$name" "$$words"; done

demo: $(STAMP)  ## check, draw and train a two-line network, and print its test score
	@$(RUN) docs/examples/demo.py

test: $(STAMP)  ## run the tests (PYTEST='-k name' passes arguments on)
	$(RUN) -m pytest -n auto --maxprocesses 8 --dist loadgroup $(PYTEST)

# Triton stays apart from the environment: rnnc must do without it.
TRITON := $(VENV)/triton
CUDA_TESTS := tests/compiler/backends/cuda/test
test-triton: $(STAMP)  ## run generated GPU kernels in Triton's interpreter, and compile them
	@test -d $(TRITON) || $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps \
		-c constraints.txt --target $(TRITON) triton
	TRITON_INTERPRET=1 PYTHONPATH=$(TRITON) OMP_NUM_THREADS=1 $(RUN) -m pytest -m triton \
		$(CUDA_TESTS)_interpreted.py $(CUDA_TESTS)_persistent_kernels.py tests/campaigns \
		-n auto $(PYTEST)
	PYTHONPATH=$(TRITON) OMP_NUM_THREADS=1 $(RUN) -m pytest -m triton \
		$(CUDA_TESTS)_ahead_of_time.py -n auto $(PYTEST)

# With the caller's own Python, for that is where torch for CUDA is: nothing is installed.
gpu:  ## where there is a GPU: test and time its kernels in eight minutes, into build/gpu.json
	@PYTHONPATH=.pkg $(PYTHON) tests/campaigns/gpu/run.py $(GPU)

test-browser: $(STAMP) chromium  ## test the interactive page in Chromium, which it installs
	$(RUN) -m pytest -m browser tests/runtime/diagrams $(PYTEST)

chromium:
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -qy chromium; } \
		>/dev/null 2>&1 || { echo "there is no Chromium, and it cannot be installed" >&2; exit 1; }

gallery: $(STAMP)  ## draw docs/gallery.md and its pictures anew
	@$(RUN) -m rnnc.runtime.diagrams.gallery docs

check: $(STAMP)  ## lint, formatting, types, import direction
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

# Each search goes on where the last one of its kind ended (tests/campaigns/ledger.jsonl).
SEARCH = $(RUN) tests/campaigns/search.py $(if $(SEED),--from-seed $(SEED))
fuzz: $(STAMP)  ## check and format broken specs, hold backends on random ones (COUNT=100000, SPECS=5000, SEED=0)
	$(RUN) tests/campaigns/checker_fuzz.py --count $(or $(COUNT),100000) --seed $(or $(SEED),0)
	$(SEARCH) --backend oracle --count $(or $(SPECS),5000)
	$(SEARCH) --backend aten --count $(or $(SPECS),5000)
	$(SEARCH) --backend cpu --count $(or $(ON_CPU),1000)
	$(SEARCH) --backend cpu --count $(or $(OPTIMISED),300) --flags=-O3
	$(SEARCH) --backend cpu --count $(or $(SANITIZED),200) --sanitize
	@test -d $(TRITON) || $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps \
		-c constraints.txt --target $(TRITON) triton
	TRITON_INTERPRET=1 PYTHONPATH=$(TRITON) $(SEARCH) --backend cuda --count $(or $(ON_CUDA),60)

bench: $(STAMP)  ## make the tables of docs/performance.md, in twelve minutes (BENCH='--quick layers')
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt 'jax>=0.4.30' || \
		echo "JAX cannot be installed: its columns stay empty" >&2
	$(RUN) tests/performance/tables.py --write $(BENCH)

mutations: $(STAMP)  ## how slips of one token are reported, in figures (COUNT=300, SEED=0)
	$(RUN) tests/campaigns/checker_mutations.py --count $(or $(COUNT),300) --seed $(or $(SEED),0)

format: $(STAMP)  ## format the code and mend what ruff can mend
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

install: $(STAMP)  ## make .venv and install rnnc into it, editable, with its tools

# The stamp comes last, so an interrupted install is taken up again; a torn .venv is made anew.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) $(enough) 2>/dev/null || \
		{ echo "rnnc needs Python >= 3.11; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing rnnc into $(VENV) (torch is large: minutes, once)"
	@$(RUN) $(enough) 2>/dev/null && $(RUN) -m pip --version >/dev/null 2>&1 || \
		$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:  ## remove .venv, caches and builds (not runs/)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
