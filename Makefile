# Every target does its own set-up. What is built outside the checkout lies in ~/.cache/ftjob (or $FTJOB_CACHE).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-check run check style types lint test test-unit test-local test-apiserver test-workloads \
	test-cluster test-alone test-samples test-failures test-profilers test-programs test-insight test-traces \
	forget prepare generate docs kind kind-down images images-all agent bench bench-start lock clean

# Compiled modules are kept: each process that starts without them parses all its sources anew.
unexport PYTHONDONTWRITEBYTECODE

CACHE := $(or $(FTJOB_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ftjob)
PYTHON := .venv/bin/python
# With a thread for each core, the programs that are tested beside each other would spin for the same cores.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest --maxfail=1 --durations=12 --durations-min=5
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder
# Agents and local runs wait for processes, timers and each other for half of their time.
IN_THREE := -n 3 --dist loadfile --no-loadscope-reorder
SHARED := -n 2 --dist worksteal
SEQUENCES := 10000
JOB ?= manifests/samples/horovod-digits.yaml
NOT_RUN := dist/not-run.txt
CHECKED := operator tools tests/unit tests/conftest.py
ALONE := tests/cluster/alone
BESIDE := tests/setup/beside.sh

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install ftjob, TensorFlow, torch and Horovod into .venv
	@tests/setup/python.sh

setup-check:
	@tests/setup/python.sh check

run: setup  ## Run a training job on this machine (JOB=path of another)
	@.venv/bin/ftjob run $(JOB)

# Types are looked at as if torch had none, so that the verdict is the same where it is installed; `make types` looks at all.
check: SEQUENCES := 50
check: setup-check style  ## The fast loop: style, types, import layers, sizes and tests/unit; needs Python and its package index alone
	@MYPYPATH=tests/setup/untyped $(PYTHON) -m mypy --cache-dir .mypy_cache/check --no-error-summary $(CHECKED)
	@FTJOB_SEQUENCES=$(SEQUENCES) $(PYTEST) $(SHARED) tests/unit

style: setup-check
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }
	@found=$$(.venv/bin/lint-imports 2>&1) || { echo "$$found"; exit 1; }
	@$(PYTHON) tools/house.py

types: setup
	@$(PYTHON) -m mypy --no-error-summary operator workloads tests tools

lint: style types  ## ruff, import layers, sizes, mypy

# Beside each other runs what waits for different things: the cores, the network, pods. What fails stops what is beside it.
# The programs only compute: they get the cores while the other tests wait.
test: SEQUENCES := 2000
test: export FTJOB_NOT_RUN := $(NOT_RUN)
test: forget  ## lint, then tests from fast to slow; stops at the first failure
	@$(BESIDE) cluster tests/kind/up.sh cluster -- $(MAKE) --no-print-directory SEQUENCES=$(SEQUENCES) check
	@$(MAKE) --no-print-directory prepare
	@$(BESIDE) programs tests/setup/yield.sh $(MAKE) --no-print-directory test-workloads -- \
	  $(MAKE) --no-print-directory PREPARED=yes types test-local test-apiserver test-cluster test-alone
	@echo "did not run:"; cat $(NOT_RUN)

forget:
	@mkdir -p $(dir $(NOT_RUN)) && : >$(NOT_RUN)

# The images come after the set-up, of which they take the wheel of Horovod.
prepare: setup
	@tests/kind/up.sh && tests/kind/test-env.sh tpu

test-unit: setup-check  ## Tests that need no framework, with 10,000 random lives of jobs; `make test` tries 2,000
	@FTJOB_SEQUENCES=$(SEQUENCES) $(PYTEST) $(SHARED) tests/unit

test-local: setup agent  ## Tests of agents, hooks, `ftjob run` and people's programs on this machine, and of the chart
	@tests/setup/chromium.sh >/dev/null && tests/setup/tools.sh helm >/dev/null && PATH="$(CACHE)/bin:$$PATH" \
	  $(PYTEST) $(IN_THREE) tests/agent tests/local tests/programs tests/chart tests/browser tests/insight

test-apiserver: setup-check  ## Tests against the API servers of the oldest and the newest supported Kubernetes
	@tests/setup/tools.sh etcd kube-apiserver kube-apiserver-oldest kubectl helm >/dev/null && PATH="$(CACHE)/bin:$$PATH" \
	  $(PYTEST) $(IN_TWO) tests/apiserver

test-workloads: setup  ## Tests of the training programs
	@tests/setup/python-tpu.sh && $(PYTEST) $(IN_TWO) tests/workloads

test-cluster: $(if $(PREPARED),,prepare)  ## Tests in the kind cluster, beside each other
	@tests/setup/chromium.sh >/dev/null && \
	  PATH="$(CACHE)/bin:$$PATH" $(PYTEST) --timeout=900 $(IN_TWO) tests/cluster --ignore=$(ALONE)

test-alone: $(if $(PREPARED),,prepare)  ## Tests that need the kind cluster for themselves
	@PATH="$(CACHE)/bin:$$PATH" $(PYTEST) --timeout=900 $(ALONE)

test-samples: setup kind  ## Every sample in the cluster, also those of one pod in full size
	@tests/kind/test-env.sh tpu && PATH="$(CACHE)/bin:$$PATH" FTJOB_ALL_SAMPLES=1 $(PYTEST) tests/cluster/test_samples.py

test-programs: setup agent  ## People's programs and all libraries, under their own launchers and under ftjob
	@FTJOB_WHOLE_MATRIX=1 $(PYTEST) --timeout=1200 $(SHARED) tests/programs

test-failures: setup kind  ## The whole matrix of failing ranks, five times (35 minutes), and its table
	@tests/kind/test-env.sh && mkdir -p dist && rm -f dist/failures.csv && for run in 1 2 3 4 5; do \
	  PATH="$(CACHE)/bin:$$PATH" FTJOB_WHOLE_MATRIX=1 FTJOB_FAILURES_TABLE=dist/failures.csv \
	  $(PYTEST) -q tests/cluster/test_failing_rank.py || exit 1; done
	@$(PYTHON) tests/bench/failures.py dist/failures.csv

test-profilers: setup  ## Every order of a program's own profiler and ours, 20 times (RUNS=another number; an hour)
	@PYTHONPATH=tests OMP_NUM_THREADS=1 $(PYTHON) tests/support/profiler_orders.py $(or $(RUNS),20)

test-insight: setup agent  ## Plant 200 faults into real trainings and compare the verdicts with the truth (SEED=another one; an hour)
	@PYTHONPATH=tests $(PYTHON) tests/insight/run.py --faulty 200 --healthy 40 --seed $(or $(SEED),1)

test-traces: setup-check  ## 10,000 damaged traces of each kind for the collector (INPUTS=another number); `make test` tries a hundred
	@FTJOB_FUZZ_TRACES=$(or $(INPUTS),10000) $(PYTEST) --timeout=7200 $(SHARED) tests/unit/test_insight_hostile.py

generate: setup agent  ## Write manifests/ and the tables in docs/ anew from the sources and the chart
	@.venv/bin/ftjob crd >dist/crd.yaml && mv dist/crd.yaml manifests/crd/ftjob.dev_frameworktrainingjobs.yaml
	@$(PYTHON) -m ftjob.insight.summary >dist/summary.json && mv dist/summary.json operator/ftjob/insight/summary.schema.json
	@HELM="$$(tests/setup/tools.sh helm)" manifests/install/render.sh
	@$(PYTHON) tools/docs.py

docs: setup-check  ## Write the documentation as a site into dist/site; a dead link is an error
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict && \
	  echo "to read it, search included: python3 -m http.server --bind 127.0.0.1 -d dist/site"

kind:  ## A cluster `ftjob` with shared storage, the images and the chart (context kind-ftjob)
	@tests/kind/up.sh

kind-down:  ## Remove that cluster
	@tests/kind/down.sh

images:  ## Build the images, tagged :dev
	@tests/setup/images.sh

images-all:  ## Also those with torch, which take 6 GB and more each
	@tests/setup/images.sh operator tensorflow horovod pytorch horovod-torch hybrid tpu

agent:  ## Build the agent's zipapp into dist/
	@PYTHONPATH=operator python3 -m ftjob.agent_zipapp dist/ftjob-agent.pyz

bench: setup agent  ## Measure sizes, speed of training, start times, captures, restarts, bursts of jobs on fake nodes, 2,000 jobs, and jobs of 10,000 pods
	@PYTHONPATH=tests $(PYTHON) tests/bench/sizes.py
	@PYTHONPATH=tests $(PYTHON) tests/bench/speed.py
	@PYTHONPATH=tests $(PYTHON) tests/bench/clock.py
	@PYTHONPATH=tests $(PYTHON) tests/bench/inplace.py
	@PYTHONPATH=tests $(PYTHON) tests/bench/capture.py
	@PYTHONPATH=tests $(PYTHON) tests/bench/collector.py
	@ulimit -n $$(ulimit -Hn) && PYTHONPATH=tests $(PYTHON) tests/bench/star.py && \
	  PYTHONPATH=tests $(PYTHON) tests/bench/signing.py
	@tests/setup/tools.sh etcd kube-apiserver kube-scheduler kube-controller-manager kwok kubectl >/dev/null && \
	  PYTHONPATH=tests $(PYTHON) tests/bench/burst.py && PYTHONPATH=tests $(PYTHON) tests/bench/restart.py && \
	  PYTHONPATH=tests $(PYTHON) tests/bench/scale.py && PYTHONPATH=tests $(PYTHON) tests/bench/large.py

bench-start: setup kind  ## Measure in the kind cluster the time from `kubectl apply` to the last rank's first line
	@PATH="$(CACHE)/bin:$$PATH" PYTHONPATH=tests $(PYTHON) tests/bench/start.py

lock:  ## Write requirements.lock anew from pyproject.toml
	@. tests/setup/common.sh && "$$(find_uv)" pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate -q -o requirements.lock

clean:  ## Remove what was built in the checkout; caches and the cluster stay
	@rm -rf .venv dist ftjob-outputs .kind .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
