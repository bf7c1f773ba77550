# Two commands do all the set-up: `make playlists` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
# The week after the demo log ends.
DEMO_WEEK := 2026-W47
DEMO := LUIGI_CONFIG_PATH=configs/demo.cfg

NOTEBOOKS := LUIGI_CONFIG_PATH=configs/notebooks.cfg
# The benchmark of docs/benchmarks.md: make bench SIZE=M
SIZE ?= S

# Some images set it: each of hundreds of processes would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: playlists notebooks test soak bench lint types layers check lock clean

playlists: .venv/installed
	$(BIN)/python -m recsys.simulate data/demo --if-missing
	$(DEMO) $(BIN)/luigi --module workflows WeeklyPlaylists --local-scheduler --week $(DEMO_WEEK)
	$(DEMO) $(BIN)/recsys summary --edition $(DEMO_WEEK)

# Executed as a person would run them, into data/notebooks/*.html.
notebooks: .venv/installed-dev
	$(BIN)/python -m recsys.simulate data/demo --if-missing
	$(NOTEBOOKS) $(BIN)/luigi --module workflows BackfillPlaylists --local-scheduler --first 2026-W45 --last $(DEMO_WEEK)
	$(NOTEBOOKS) $(BIN)/luigi --module workflows TuneModel --local-scheduler --week $(DEMO_WEEK)
	printf '%s\n' notebooks/*.py | $(NOTEBOOKS) PATH="$(BIN):$$PATH" xargs -P 2 -I {} sh -c \
		'jupytext --quiet --to ipynb --output - {} | jupyter nbconvert --log-level ERROR --stdin \
			--execute --ExecutePreprocessor.kernel_name=python3 --to html \
			--output-dir data/notebooks --output $$(basename {} .py)'

test: .venv/installed-dev
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not soak"

soak: .venv/installed-dev
	$(BIN)/python -m pytest -q -n auto -m "soak or hypothesis" --hypothesis-profile soak

bench: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench,spark]"
	$(BIN)/python -m benchmarks.run --size $(SIZE)

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/installed-dev
	$(BIN)/mypy

layers: .venv/installed-dev
	$(BIN)/lint-imports

check: lint types layers test

# Versions are locked without download addresses; raise a lower bound in pyproject.toml first.
lock:
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --upgrade \
		pyproject.toml --output-file requirements.txt
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --upgrade \
		--extra dev pyproject.toml --constraint requirements.txt --output-file requirements-dev.txt

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@

# Not all of data: that is a home, whose editions may be published.
clean:
	rm -rf .venv data/demo data/notebooks data/bench
