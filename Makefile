# make demo   install, train, dissect and export a network (about five minutes)
# make test   install, check and test
# make test-all   the same, with the tests marked thorough: half as much time again
# make docs   the site, in docs/_build/html
# make test-jax   the tests that run on every backend, on JAX, where TensorFlow is not installed; comparisons with torch
# make test-versions   the tests with the oldest and the newest releases within the bounds of setup.cfg
# make soak   an hour of faults against the real commands; MINUTES=5 for fewer. It goes on where it stopped
# make test-ray   the tests of what runs on Ray, which it installs
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JAX_VENV ?= .venv-jax
VERSIONS ?= .venv-versions
PYTHONS ?= 3.11 3.12 3.13
UV = $(VERSIONS)/uv/bin/uv
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Names that other libraries do not promise, of those that the package needs or needed.
PRIVATE = (keras|keras_tuner)\.src|tensorboard\.(compat|summary)|_pb2|tensorflow\.(lite\.)?python|tf\.__internal__|([."]|def )_(nodes_by_depth|(in|out)bound_nodes|keras_|flatten_layers|call_has|get_variable_index|use_weight_decay|symbolic_build|save_trial|populate_|try_run|run_and)|[."]_(functional|layers)\>

.PHONY: demo test test-all test-jax test-ray test-versions soak check docs clean

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,hub]'
	touch $@

$(VENV)/installed-ray: $(VENV)/installed-test
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,hub,ray]'
	touch $@

# Without TensorFlow, which the package itself asks for: so not by its dependencies, but by those of the file. Where pip's
# index has torch with gigabytes for GPUs, PIP_EXTRA_INDEX_URL can name one that has it without.
$(JAX_VENV)/installed: setup.cfg pyproject.toml constraints.txt requirements-jax.txt
	$(PYTHON) -m venv $(JAX_VENV)
	$(JAX_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-jax.txt torch pytest pytest-xdist hypothesis
	$(JAX_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

.PRECIOUS: $(VERSIONS)/%/installed
$(UV):
	$(PYTHON) -m venv $(VERSIONS)/uv
	$(VERSIONS)/uv/bin/pip install --quiet --disable-pip-version-check uv

# Without the constraints: the oldest releases that setup.cfg allows of what it names, and the newest of all.
$(VERSIONS)/%/installed: setup.cfg pyproject.toml $(UV)
	$(UV) venv --quiet --clear --python $(lastword $(subst -, ,$*)) $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --resolution $(if $(findstring oldest,$*),lowest-direct,highest) -e '.[test]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/keras-resnets demo --out runs/demo

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	@! grep -rnE --exclude=registered.py 'import_module|__import__' keras_resnets || { echo 'Rooms import each other by statements, which import-linter sees; only registered.py may do so by name.'; exit 1; }
	@! grep -rnE --include='*.py' --exclude=private.py '$(PRIVATE)' keras_resnets || { echo "Other libraries' private names stand in a room's private.py."; exit 1; }

test: check
	$(BIN)/pytest -n 2 --dist worksteal -m 'not thorough and not ray'

test-all: check
	$(BIN)/pytest -n 2 --dist worksteal -m 'not ray'

# JAX compiles the same functions in every process; what one has compiled, the others read.
test-jax: export KERAS_BACKEND = jax
test-jax: export JAX_COMPILATION_CACHE_DIR = $(abspath $(JAX_VENV))/compiled
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1
test-jax: $(JAX_VENV)/installed
	$(JAX_VENV)/bin/pytest -n 2 --dist worksteal -m 'backends and not thorough and not ray'
	KERAS_BACKEND=torch $(JAX_VENV)/bin/pytest -n 2 --dist worksteal -m 'torch and not thorough'

# Old releases call what newer ones of what they need have deprecated, and old Keras warns of each network with one input.
OF_OLD = -W default::DeprecationWarning -W "default:The structure of \`inputs\` doesn't match:UserWarning"
test-oldest-%: $(VERSIONS)/oldest-%/installed
	$(<D)/bin/pytest -n 2 --dist worksteal -m 'not thorough and not ray' $(OF_OLD) $(TESTS)

test-newest-%: $(VERSIONS)/newest-%/installed
	$(<D)/bin/pytest -n 2 --dist worksteal -m 'not thorough and not ray' $(TESTS)

test-versions: test-oldest-$(firstword $(PYTHONS))
	@for python in $(PYTHONS); do \
	    if $(UV) python find --quiet --no-python-downloads $$python >/dev/null 2>&1; then $(MAKE) test-newest-$$python || exit 1; \
	    else echo "Python $$python is not installed here, and was not tried."; fi; done

# Seeded; the table is in runs/soak/table.md. It forks processes, each of which may take a core.
MINUTES ?= 60
soak: $(VENV)/installed-test
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m soak --seed 0 --minutes $(MINUTES) --work runs/soak --out runs/soak/table.md

test-ray: $(VENV)/installed-ray
	$(BIN)/pytest -m ray

# Also runs the examples, for their pages: some minutes. What has not changed is not made again.
docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html
	@echo "the site: $(abspath docs/_build/html/index.html)"

clean:
	rm -rf $(VENV) $(JAX_VENV) $(VERSIONS) docs/_build docs/api docs/gallery runs build *.egg-info .pytest_cache .ruff_cache .mypy_cache
