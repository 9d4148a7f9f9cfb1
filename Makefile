# Every target sets up what it needs: a fresh machine has Python 3.11 or newer and make. The tests install, or name, the
# real servers and the browser that they run against.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first half of the days warms the state, the second is decided.
DEMO_DAYS ?= 60
DEMO_CUSTOMERS ?= 2000
BENCH_ARGS ?=
SOAK_ROUNDS ?= 5
SOAK_RUNS ?= 5000
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# Command and Debian package of everything that the tests start.
PREREQUISITES := java:default-jre-headless mvn:maven redis-server:redis-server chromium:chromium chromedriver:chromium-driver

.PHONY: demo test soak prerequisites check setup bench bench-live notebooks model lock clean

demo: setup
	@$(BIN)/fraud simulate --out demo/transactions.jsonl --days $(DEMO_DAYS) --customers $(DEMO_CUSTOMERS) --merchants 600 --seed 1
	@echo
	@$(BIN)/fraud replay demo/transactions.jsonl --out demo/report \
	  --from $$($(BIN)/python -c 'import datetime; print(datetime.date(2026, 1, 1) + datetime.timedelta($(DEMO_DAYS) // 2))')

test: prerequisites setup check
	$(BIN)/python -m pytest

# The long form of what the tests do in short: every stage of a batch killed so many times, outages of a minute,
# thousands of simulated runs. Figures are left in build/crashes.json and build/partitions.json.
soak: prerequisites setup
	SOAK_ROUNDS=$(SOAK_ROUNDS) SOAK_OUTAGE_SECONDS=60 $(BIN)/python -m pytest tests/integration/test_live_crashes.py \
	  tests/integration/test_live_outages.py tests/integration/test_live_rebalances.py
	$(BIN)/python -m pytest tests/simulation --runs $(SOAK_RUNS)
	@cat build/crashes.json build/partitions.json

prerequisites:
	@missing=""; for entry in $(PREREQUISITES); do \
	  command -v "$${entry%%:*}" >/dev/null || missing="$$missing $${entry##*:}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "The tests need:$$missing; install them: apt-get install$$missing" >&2; exit 2; fi

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_structure.py

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is needed: apt-get install python3-venv" >&2; exit 2; }
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench: setup
	$(BIN)/python -m benchmarks.replay $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.learning $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.scoring

bench-live: setup
	$(BIN)/python -m benchmarks.live $(BENCH_ARGS)

# JupyterLab stays out of the environment of everything else: it alone has some fifty packages. It refuses to run as
# root, which is who one is in most containers, unless told.
notebooks: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-notebooks.lock
	$(BIN)/jupyter lab --ip 127.0.0.1 $(AS_ROOT) notebooks

# Makes the shipped model again: the same seeds give the same content hash.
model: setup
	$(BIN)/fraud simulate --seed 7 --days 120 --customers 4000 --merchants 1500 --out build/training.parquet
	$(BIN)/fraud-train fit build/training.parquet --train-from 2026-02-01 --train-to 2026-04-10 --validate-to 2026-05-01 \
	  --seed 7 --out models/default

# Writes the locks anew from pyproject.toml, for every platform; needs uv. The service's own is for the container image.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links pyproject.toml
lock:
	$(LOCK) --extra dev -o requirements.lock
	$(LOCK) -c requirements.lock -o requirements-service.lock
	$(LOCK) --extra dev --extra notebooks -c requirements.lock -o requirements-notebooks.lock

clean:
	rm -rf $(VENV) build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
