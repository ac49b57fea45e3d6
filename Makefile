# Needs Python 3.11 or newer, make and a C compiler. `make setup` is done by the others when it is due.
PYTHON ?= python3
VENV ?= .venv
EXTRAS := bench,demo,dev,docs,events,explain,litert,nir,onnx,openvino,openvino-int8,oracles,sim,sound,sweep,tensorrt,torch,train,triton,volumes,zoo
PYTEST_ARGS ?=
WORKERS ?= 2
GPUS ?= 1
ARTIFACTS ?= $(addprefix build/demo/puppets/,onnx onnx-int8 onnx-step)
bin := $(VENV)/bin
app := examples/puppets/app
stamp := $(VENV)/.installed
oracle := $(VENV)/.checkpoints

.PHONY: help setup demo app test test-slow lint docs bench gpu catalogue clean
help:
	@echo "make setup | demo | app | test | test-slow | lint | docs | bench | gpu | catalogue | clean    (PYTHON=python3.12 chooses the interpreter)"

setup: $(stamp)

# Installed again only when what is to be installed has changed; the sources are used in place.
$(stamp): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is too old"; echo "expected: Python 3.11 or newer"; echo "fix: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	# TensorRT-RTX's own package asks for its libraries by a name that no index serves; they are there by now.
	$(bin)/python -m pip install --disable-pip-version-check -c constraints.txt --no-deps tensorrt-rtx-cu13
	@touch $@

demo: $(stamp)
	$(bin)/python -m neurokit demo

# The page of the puppets, for what `make demo` left or for ARTIFACTS="DIR DIR"; npm fetches ONNX Runtime's WebAssembly by
# the sums in package-lock.json.
app: $(stamp) $(app)/node_modules/.package-lock.json
	$(bin)/python $(app)/serve.py $(ARTIFACTS)

$(app)/node_modules/.package-lock.json: $(app)/package.json $(app)/package-lock.json
	@command -v npm >/dev/null || { echo "error: there is no npm"; echo "fix: install Node.js 18 or newer"; exit 2; }
	npm ci --ignore-scripts --no-audit --no-fund --prefix $(app)
	@touch $@

# A process that has nothing left takes from the other's rest; one thread each, or they would wait for each other's.
test: $(stamp)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -m "not slow" -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-slow: $(stamp) $(oracle)
	$(bin)/python -m pytest -m slow $(PYTEST_ARGS)

# The library that slow tests hold checkpoints of language models against (pyproject.toml says why it is not in EXTRAS).
$(oracle): $(stamp)
	$(bin)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[checkpoints]"
	@touch $@

lint: $(stamp)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

# The documentation site, in build/site; needs no network.
docs: $(stamp)
	NO_MKDOCS_2_WARNING=1 $(bin)/python -m mkdocs build

# The kernels' figures need a GPU: `make gpu`.
bench: $(stamp)
	for name in export exactness hw_sim_engine latency; do $(bin)/python benchmarks/$$name.py || exit 1; done

# On a machine with an NVIDIA GPU and compute-sanitizer: the kernels' tests, memory and race checks, and figures
# (GPUS=4 lets four of one kind share those).
gpu: $(stamp)
	$(bin)/python -m pytest tests/kernels -m "slow or not slow" $(PYTEST_ARGS)
	$(bin)/python tests/kernels/sanitize.py
	$(bin)/python benchmarks/kernels.py --out build/kernels-gpu.json --processes 12 --devices $(GPUS)
	$(bin)/python benchmarks/gpu.py --out build/gpu

catalogue: $(stamp)
	$(bin)/python -m neurokit.catalogue docs/catalogue.md
	$(bin)/python -m neurokit.attention.document docs/attention.md
	$(bin)/python -m neurokit.transforms.document docs/attention-calibration.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
