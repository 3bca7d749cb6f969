# Two commands on a fresh clone: `make figures` and `make test`. Each builds .venv from the hashed locks first.
# Where a machine has several of these Pythons, the newest; or name one: make figures PYTHON=python3.12
VERSIONS := 3.13 3.12 3.11
SUPPORTED := import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(VERSIONS)".split())
PYTHON ?= $(firstword $(foreach python,$(VERSIONS:%=python%) python3,$(shell $(python) -c '$(SUPPORTED)' 2> /dev/null && command -v $(python))))
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ARGS ?=
BIN := .venv/bin
# pytest's plug-ins load NumPy before any test could choose its kernels, and timings should be those of a run.
PINNED := $(BIN)/repro exec
# Twice quiet: errors only, since pip warns at length about every source that lacks a package.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps
PIP := $(INSTALL) --require-hashes

.PHONY: figures test lint bench baselines lab lock clean help
.DELETE_ON_ERROR:

help:  ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

figures: .venv/.main  ## run every notebook (laptop profile) and rebuild figures/; ARGS="--profile paper" and the like
	$(BIN)/repro run $(ARGS) && $(BIN)/repro report

test: .venv/.dev  ## unit, theory, regression and fault tests
	$(PINNED) $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: .venv/.dev  ## style, types, which part imports which, and declared dependencies
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/deptry repro notebooks
	$(BIN)/deptry tests benchmarks --ignore DEP002,DEP004  # these need not use everything, and may use the extra dev

bench: .venv/.main  ## the hot paths against the plain approach and the strongest library; `| grep '^|'` is the table
	for script in $(filter-out %/timing.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$script"; $(PINNED) $(BIN)/python $$script || exit 1; done

baselines: .venv/.dev  ## new reference numbers and pictures for the regression tests; look at them before you commit
	$(BIN)/repro run --profile smoke --out tests/baselines --force
	find tests/baselines/smoke -type f ! -name '*.csv' ! -name results.json -delete
	$(BIN)/python -m pytest tests/papers tests/workflow/test_forest.py -k "plots or verdicts" --mpl-generate-path tests/baselines/plots

lab: .venv/.lab  ## the notebooks in a browser
	$(BIN)/jupyter lab notebooks

lock:  ## rewrite the locks from requirements/*.in (needs uv)
	cd requirements && for name in main dev lab; do \
	  uv pip compile --quiet --universal --python-version $(lastword $(VERSIONS)) --fork-strategy fewest \
	    --generate-hashes --no-header --no-emit-index-url \
	    $$([ $$name = main ] || echo -c main.lock) $$name.in -o $$name.lock || exit 1; done

clean:  ## remove the environment and the caches; results stay
	rm -rf .venv .repro build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/.torch: requirements/torch.lock
	@$(or $(PYTHON),false) -c '$(SUPPORTED)' || \
	  { echo "error: Python $(VERSIONS) is needed, found: $(or $(PYTHON),none of them). Try make PYTHON=/path/to/python"; exit 1; } >&2
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing torch for $$($(BIN)/python -V) from pip's configured sources, else from $(TORCH_INDEX)"
	@$(PIP) -r $< 2> .venv/torch.log || $(PIP) --extra-index-url $(TORCH_INDEX) -r $< || \
	  { echo "error: no source has the pinned torch for $$($(BIN)/python -V). Set TORCH_INDEX to one that does, or take another"; \
	    echo "Python ($(VERSIONS)): make clean, then make PYTHON=... pip's own sources said:"; cat .venv/torch.log; exit 1; } >&2
	touch $@

.venv/.main: requirements/main.lock pyproject.toml .venv/.torch
	$(PIP) -r $<
	$(INSTALL) --no-build-isolation -e .
	touch $@

.venv/.dev: requirements/dev.lock .venv/.main
	$(PIP) -r $<
	touch $@

.venv/.lab: requirements/lab.lock .venv/.main
	$(PIP) -r $<
	touch $@
