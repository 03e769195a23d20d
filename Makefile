# Everything runs from this folder's own .venv, made on first use; needs Python 3.11 or later and nothing else.
#
#   make test PYTHON=python3.12     another interpreter for the .venv
#   make test ARGS='-k square'      more arguments for the target's command

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,$(if $(shell $(call is_recent,$(name))),$(name))) python3)
ARGS ?=

is_recent = $(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo yes
BIN := .venv/bin
READY := .venv/.installed
# What benchmarks/checkpoints.py is given, where both folders are named.
PUBLISHED := $(and $(ROBAUDIT_MODELS),$(ROBAUDIT_DATA),$(ROBAUDIT_MODELS) --data-dir $(ROBAUDIT_DATA))
# The zoo of examples/zoo/build.py, and what benchmarks/zoo.py measured of it: make results ZOO='--zoo ZOO --work DIR'
ZOO ?=
WANTED := set ROBAUDIT_MODELS and ROBAUDIT_DATA to run it

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-heavy lint format bench results docs clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(READY): pyproject.toml constraints.txt
	@$(if $(shell $(call is_recent,$(PYTHON))),:,echo "$(PYTHON): not Python 3.11 or later; install one, or pass PYTHON=python3.12" >&2; exit 1)
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --python $(BIN)/python -e '.[onnx,timm,ray]' --group dev -c constraints.txt
	@touch $@

setup: $(READY) ## Make .venv with the package and its tools
	@echo ".venv: ready"

demo: $(READY) ## Audit two shipped checkpoints, one honest and one masked
	$(BIN)/robaudit demo $(ARGS)

# One thread of arithmetic in each of the two workers: more would only contend for the cores.
test: $(READY) ## Run the tests but the heavy ones
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not heavy' $(ARGS)

test-heavy: $(READY) ## Run the tests that take minutes
	$(BIN)/pytest -m heavy $(ARGS)

# Every check runs, so that one call shows all that is wrong.
lint: $(READY) ## Check style, format, types and the import contracts
	@status=0; \
	for check in 'ruff check .' 'ruff format --check .' 'mypy src $(wildcard scripts/*.py benchmarks/*.py)' lint-imports; do \
	  echo "$$check"; $(BIN)/$$check || status=1; \
	done; exit $$status

format: $(READY) ## Rewrite the code in its one format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY) ## Short forms of the measurements under benchmarks/
	$(BIN)/python benchmarks/coverage.py --quick
	$(BIN)/python benchmarks/parity.py $(foreach kind,adversarial distilled,digits:src/robaudit/assets/digits_$(kind).safetensors:0.1:100)
	$(BIN)/python benchmarks/landscapes.py --images 4
	$(if $(PUBLISHED),$(BIN)/python benchmarks/checkpoints.py $(PUBLISHED) --examples 500,@echo 'benchmarks/checkpoints.py: $(WANTED)')

docs: $(READY) ## Build the documentation into site/; every warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky -b html -d site/.doctrees docs site $(ARGS)
	@echo 'site/index.html: ready'

results: $(READY) ## Measure again what docs/results/ reports (long)
	$(BIN)/python benchmarks/coverage.py >docs/results/.part
	mv docs/results/.part docs/results/coverage.md
	$(if $(PUBLISHED),$(BIN)/python benchmarks/checkpoints.py $(PUBLISHED) --examples 10000 >docs/results/.part,@echo 'docs/results/checkpoints.md: left as it is; $(WANTED)')
	$(if $(PUBLISHED),mv docs/results/.part docs/results/checkpoints.md,@:)
	$(BIN)/python benchmarks/landscapes.py $(PUBLISHED) $(ZOO) >docs/results/.part
	mv docs/results/.part docs/results/landscapes.md
	@echo 'docs/results/parity.md: left as it is; its commands take hours and stand at its head'

clean: ## Remove caches and builds (the .venv stays)
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
