# The one door for tasks, the same for a person and for CI. `make help` lists them.
# The first of these that runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SET_UP = test -n "$(PYTHON)" || \
	{ echo "Headgate needs Python 3.11 to 3.13; name one: make PYTHON=/path/to/python3.12"; exit 1; }; \
	$(PYTHON) tools/environment.py
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	--no-annotate --python-version 3.11 pyproject.toml
SBOM := headgate.cdx.json
IMAGE_LOCK := image.lock
# What the image holds. `semantic` has no wheel for arm64 Linux, so it has an image of its own.
PARTS := --extra encryption --extra patterns --extra guardrails

# Compiled once, and not at every start, whatever this machine's images are set to.
export PYTHONDONTWRITEBYTECODE :=

# What starts no process and opens no socket, but for the long simulations. The rest is `make test`'s.
UNITS := tests/test_architecture.py tests/test_shape.py tests/test_extensibility.py tests/test_second_family.py \
	tests/deploy/test_compose_file.py tests/deploy/test_kubernetes.py tests/packaging/test_locks.py \
	tests/middleware tests/app tests/cache/answers tests/cache/semantic tests/cache/serving \
	--ignore tests/app/cli --ignore tests/app/supervision --ignore tests/app/providers/http1 \
	--ignore tests/cache/answers/test_fingerprint.py --ignore tests/cache/semantic/test_error_bounds.py \
	-m "not server" --hypothesis-profile quick

.PHONY: help run check test test-real lint bench bench-check bench-semantic bench-guardrails bench-audit bench-store soak lock image sbom clean always

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: ## Run the gateway on 127.0.0.1:8080 with its built-in configuration
	@$(SET_UP) runtime.lock
	$(BIN)/headgate serve

test: $(STAMP) lint ## Everything that proves it, with whatever that needs; ARGS="path::test" runs one
	$(if $(ARGS),,$(BIN)/python -m bench.instructions --check)
	$(BIN)/python -m pytest $(if $(ARGS),,-n auto --dist loadfile --no-loadscope-reorder) $(ARGS)

check: lint ## Lint, types and the tests that start nothing: a minute
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(UNITS) $(ARGS)

lint: $(STAMP) ## Style, types and the direction of imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test-real: $(STAMP) ## Against real inference servers (gigabytes, ten minutes); ARGS=--help
	$(BIN)/python -m tests.real $(ARGS)

bench: $(STAMP) ## CPU per request, throughput, latency, memory, beside nginx; ARGS=--help
	$(BIN)/python -m bench $(ARGS)

bench-check: $(STAMP) ## Did a step get dearer? Instructions against kept figures: a minute
	$(BIN)/python -m bench.instructions --check $(ARGS)

bench-semantic: $(STAMP) ## What the semantic cache would serve of labelled texts; DATA="FILE …"
	$(BIN)/python -m bench.semantic $(DATA) $(ARGS)

bench-guardrails: $(STAMP) ## What the guardrails find in labelled texts, and cost; DATA="FILE …"
	$(BIN)/python -m bench.guardrails $(DATA) $(ARGS)

bench-audit: $(STAMP) ## What a record of the audit log costs, on the event loop and in its thread
	$(BIN)/python -m bench.audit

bench-store: $(STAMP) ## How much room in Redis a key, a request and a cached answer take
	$(BIN)/python -m bench.store_sizes

soak: $(STAMP) ## 1,000 streams at once, floods beside a neighbour, flapping upstreams (four minutes); ARGS=--help
	$(BIN)/python -m bench.soak $(ARGS)

lock: $(STAMP) ## Pin the dependencies of pyproject.toml anew, with hashes
	$(LOCK) --group build $(PARTS) --extra semantic --extra dev -o requirements.lock
	$(LOCK) --group build -c requirements.lock -o runtime.lock
	$(LOCK) --group build -c requirements.lock $(PARTS) -o image.lock
	$(LOCK) --group build -c requirements.lock $(PARTS) --extra semantic -o image-semantic.lock

image: ## Build the container image headgate; ARGS="--build-arg LOCK=image-semantic.lock"
	docker build --file deploy/Dockerfile --tag headgate --build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) .

sbom: $(STAMP) ## List what the image holds, with hashes, as CycloneDX: SBOM=headgate.cdx.json
	sed '/^\(pip\|setuptools\)==/,/[^\\]$$/d' $(IMAGE_LOCK) | \
		PYTHONWARNINGS=ignore $(BIN)/uvx --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements - \
		--pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-format JSON --output-file $(SBOM)

clean: ## Remove what was made here
	rm -rf $(VENV) .real .redis .clients build *.egg-info headgate.cdx.json

# Asked each time, because an environment also goes bad by itself: a folder that was moved, a Python
# that was upgraded. It takes a twentieth of a second where all is well.
$(STAMP): always
	@$(SET_UP) requirements.lock
