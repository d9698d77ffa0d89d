"""The files that a public project has, and that they agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def content(name: str) -> dict:
    return yaml.load(text(name), Loader=yaml.BaseLoader)  # every value as text


FILES = (
    "LICENSE README.md CHANGELOG.md CITATION.cff CONTRIBUTING.md MANIFEST.in constraints.txt environment.yml "
    ".pre-commit-config.yaml .github/workflows/ci.yml .snakemake-workflow-catalog.yml"
)


@pytest.mark.parametrize("name", FILES.split())
def test_the_repository_has(name):
    assert text(name).strip()


def test_version_date_and_license_agree():
    citation = content("CITATION.cff")
    version, date = re.search(r"^## \[(.+)\] - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.M).groups()
    assert PROJECT["version"] == citation["version"] == version
    assert citation["date-released"] == date
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"
    assert PROJECT["authors"] == citation["authors"]
    words = text("LICENSE").split()
    assert words[:4] == ["Apache", "License", "Version", "2.0,"] and len(words) == 1581  # the full text


def test_the_citation_has_what_its_format_requires():
    citation = content("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert len(citation["abstract"]) > 100


def test_hooks_fetch_nothing_and_run_what_make_check_runs():
    makefile = text("Makefile")
    (repository,) = content(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert f"\t{hook['entry'].removesuffix(' --force-exclude')}" in makefile, hook["entry"]


def test_ci_runs_everything_once_and_no_other_python_is_claimed():
    (job,) = content(".github/workflows/ci.yml")["jobs"].values()
    rows = job["strategy"]["matrix"]["include"]
    assert [row["command"] for row in rows] == [".ci/run", *["make test"] * (len(rows) - 1)]
    assert [row["python"] for row in rows] == ["3.11", "3.12", "3.13"]
    claimed = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert "3.11" in claimed and set(claimed) <= {row["python"] for row in rows}
    assert PROJECT["requires-python"] == ">=3.11"


def test_the_catalog_knows_how_the_workflow_is_run():
    usage = content(".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    deployment = usage["software-stack-deployment"]
    assert set(deployment) == {"conda", "apptainer", "apptainer+conda", "report"}
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert (deployment["conda"] == "true") == ("conda:" in rules)
    assert (ROOT / "config/README.md").is_file()  # the catalog shows it


def test_the_guide_for_contributors_is_short_and_names_what_is_there():
    guide = text("CONTRIBUTING.md")
    assert len(guide.splitlines()) <= 120
    named = re.findall(r"`((?:softmax_rewards|docs|config|tests|workflow|results)/[\w./-]*)`", guide)
    assert len(named) > 5
    assert not [path for path in named if not (ROOT / path).exists()]
    targets = re.findall(r"\bmake (\w+)[` ]", "\n".join(re.findall(r"^    make.*|`make \w+`", guide, re.M)))
    assert targets and all(f"\n{target}:" in text("Makefile") for target in targets)
