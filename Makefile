# Everything runs in .venv, made from the hash-locked requirements.lock; no index address is recorded anywhere.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# MkDocs has an environment of its own: its packages shall not bind those that serve.
DOCS_VENV ?= .docs-venv
# uv keeps what it has unpacked, so that a second install on a machine takes seconds. It doesn't read pip's configuration,
# so it is told what that says of indexes, find-links and certificates.
LIKE_PIP := s/^[^=]*[.]index-url=/UV_DEFAULT_INDEX=/p; s/^[^=]*[.]extra-index-url=/UV_INDEX=/p; \
	s/^[^=]*[.]find-links=/UV_FIND_LINKS=/p; s/^[^=]*[.]cert=/SSL_CERT_FILE=/p
INSTALL = set -a; eval "$$($(BIN)/python -m pip config list | sed -n '$(LIKE_PIP)')"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --index-strategy unsafe-best-match
# What our processes import is compiled once, and nothing else is.
ROOTS := api.app, workflows.worker, serving.replica, serving.agent, serving.shipper, hotswap.persistence.recorder, hotswap.cli.app

# Hundreds of processes import the same modules: each would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-frameworks demo bench bench-analysis bench-judgement check quick test frameworks unit light stack e2e slowed chaos lint types contracts format docs docs-generate lock clean

help: ## what can be made
	@grep -E '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 34

install: $(VENV)/.installed ## the environment, from locked and hashed packages

$(VENV)/.installed: requirements.lock requirements-uv.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo installing what requirements.lock names
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	$(BIN)/python -c "import $(ROOTS)"
	touch $@

install-frameworks: $(VENV)/.installed-frameworks ## PyTorch and TensorFlow too, for their tests

# PyTorch's build without CUDA (200 MB) where pip's own configuration leads to it, else PyPI's with CUDA's libraries (3 GB).
$(VENV)/.installed-frameworks: $(VENV)/.installed $(wildcard requirements-*.lock)
	@echo installing PyTorch and TensorFlow
	@$(INSTALL) --no-deps --require-hashes -r requirements-frameworks.lock
	@$(INSTALL) --no-deps --require-hashes -r requirements-torch-cpu.lock || \
		{ $(INSTALL) --no-deps --require-hashes -r requirements-torch-cuda.lock; }
	touch $@

demo: install ## the main job: deploy, canary under load with a killed worker, catch and roll back a broken version
	$(BIN)/hotswap demo

bench: install ## every promised figure beside its bar, about 15 minutes on an idle machine; ONLY="abort worker" for some
	$(BIN)/python -m benchmarks $(addprefix --only ,$(ONLY))

bench-analysis: install ## how soon harm is seen, and how seldom where none is; a few minutes; SEED=7 draws the same again
	$(BIN)/python -m benchmarks.analysis $(addprefix --seed ,$(SEED))

bench-judgement: install ## how rollouts end in a hundred situations, good candidates and bad ones; SEED=7 RUNS=100 ONLY=errors
	$(BIN)/python -m benchmarks.judgement $(addprefix --seed ,$(SEED)) $(addprefix --runs ,$(RUNS)) $(if $(ONLY),--only "$(ONLY)")

SUITE := $(BIN)/python -m tests.suite

check: install ## what CI runs first: lint, types, import contracts, quick tests; 60 processor seconds are the bar
	$(SUITE) check

test: install ## the whole suite, on the real servers; 1,500 processor seconds are the bar
	$(SUITE) test

lint types contracts quick: install ## one part of `make check`
	$(SUITE) $@

e2e stack light unit frameworks: install ## one part of `make test`: tests/README.md says what each holds
	$(SUITE) $@

slowed: install ## `make test` on a machine made slow: HOW="--busy 2" or HOW="--share 0.33"
	$(BIN)/python -m tests.suite.slowed $(HOW) test

chaos: install ## parts killed, frozen and kept away under load, and the long tables; left out of `make test`
	$(BIN)/pytest tests -m soak

format: install ## rewrite the sources as `make lint` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_VENV)/.installed ## the documents as a site in build/site; a warning, such as of a broken link, is an error
	$(DOCS_VENV)/bin/mkdocs build

$(DOCS_VENV)/.installed: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	touch $@

docs-generate: install ## write what docs/ has from the code: settings, routes, roles, and the diagram of the rooms
	$(BIN)/python -m tests.fixtures.generated

EXTRAS := server embedded demo scikit-learn xgboost lightgbm dev
COMPILE := .lock-venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header
# The large ones have files of their own: without PyTorch, and with it. PyPI doesn't have its build without CUDA, so
# requirements-torch-cpu.lock is written by hand, with what PyTorch's own index says.
LARGE = $(PYTHON) -c "import tomllib; has = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	print(*has['pytorch'], *has['tensorflow'], sep='\n')"
TORCH := torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc \
	cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

lock: install ## resolve the lock files anew from pyproject.toml; then make chaos, which holds Ray to what is relied on
	$(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install --quiet uv
	echo uv | $(COMPILE) --output-file requirements-uv.lock -
	$(COMPILE) --output-file requirements-docs.lock requirements-docs.in
	$(COMPILE) $(addprefix --extra ,$(EXTRAS)) --output-file requirements.lock pyproject.toml requirements-build.in
	$(COMPILE) --extra server --constraint requirements.lock --output-file docker/requirements.lock pyproject.toml requirements-build.in
	$(LARGE) > .lock-venv/large.in
	$(COMPILE) --constraint requirements.lock --output-file requirements-torch-cuda.lock .lock-venv/large.in
	$(COMPILE) --constraint requirements.lock --output-file requirements-frameworks.lock .lock-venv/large.in \
		$(addprefix --no-emit-package ,$(TORCH))
	rm -rf .lock-venv

clean: ## remove the environment and caches
	rm -rf $(VENV) $(DOCS_VENV) build .ruff_cache .pytest_cache .import_linter_cache .hypothesis
