"""What is written down twice says the same."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from softmax_rewards import config, plugins, warm_start

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def tree() -> dict[str, str]:
    """Paths of the README's tree (the fenced block that begins with the Snakefile) → what is said of them."""
    text = README.read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```\w*\n(.*?)```", text, re.S) if block.startswith("Snakefile"))
    found, parents = {}, []
    for line in block.splitlines():
        name, _, said = line.strip().partition(" ")
        if not name:
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name.rstrip("/")]
        found["/".join(parents)] = said.strip()
    return found


def test_the_readmes_tree_is_true():
    entries = tree()
    missing = [path for path in entries if not list(ROOT.glob(path)) and path not in ("results", "data")]
    assert not [path for path in missing if not path.startswith(("results/", "data/"))]
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "softmax_rewards").glob("*.py")}
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "softmax_rewards").glob("*/__init__.py")}
    assert (modules - {"softmax_rewards/__init__.py"}) | packages <= set(entries)
    assert all(said for path, said in entries.items() if path.endswith(".py"))


def table(heading: str) -> dict[str, str]:
    """Key → default, from the table below a heading of config/README.md."""
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:3] == "| `"
    ]
    return {row[0].strip("` "): row[-1].strip("` |") for row in rows}


SECTIONS = {
    "`training`": config.Training,
    "`evaluation`": config.Evaluation,
    "`config.yaml`": config.Settings,
    "`warm_start`": warm_start.WarmStart,
    **{
        f"`task`: `{name}`": plugins.load("softmax_rewards.tasks", name).Options
        for name in plugins.names("softmax_rewards.tasks")
    },
    **{
        f"`model`: `{name}`": plugins.load("softmax_rewards.sources", name).Options
        for name in plugins.names("softmax_rewards.sources")
    },
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_configs_readme_lists_every_key_with_its_default(heading):
    listed = table(heading)
    fields = {item.name: item for item in dataclasses.fields(SECTIONS[heading])}
    assert list(listed) == list(fields)
    for name, item in fields.items():
        default = None if item.default is dataclasses.MISSING else item.default
        if isinstance(default, tuple):
            default = list(default)
        if isinstance(default, warm_start.WarmStart):  # a source's own: what differs from the common defaults
            common = dataclasses.asdict(warm_start.NONE)
            default = {key: value for key, value in dataclasses.asdict(default).items() if value != common[key]}
        written = yaml.safe_load(listed[name]) if listed[name] != "required" else None
        assert written == default, f"{heading} {name}: config/README.md says {listed[name]}, the code {default}"


def test_the_configs_readme_lists_every_key_of_an_experiment():
    keys = {item.name for item in dataclasses.fields(config.Experiment)} - {"name"}
    assert set(table("An experiment")) == keys | {"extends"}


def test_conda_gets_the_same_environment():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert conda["name"] == project["name"]
    assert f"python{project['requires-python']}" in conda["dependencies"]
    (pip,) = (entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    assert pip == ["-e .[workflow]"]
    assert "workflow" in project["optional-dependencies"]


def test_constraints_pin_every_dependency_and_no_local_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [need for extra in project["optional-dependencies"].values() for need in extra]
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {line.split("==")[0].lower() for line in lines}
    assert {re.split(r"[>=<\[]", need)[0].lower() for need in wanted} <= pinned


def test_every_experiment_stands_in_the_configs_readme():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    missing = [file.stem for file in (ROOT / "config/experiments").glob("*.yaml") if f"`{file.stem}`" not in text]
    assert not missing
