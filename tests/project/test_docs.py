"""What is written down twice says the same."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from softmax_rewards.common import plugins
from softmax_rewards.config import experiments, settings
from softmax_rewards.models import warm_start

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_the_readmes_tree_is_true():
    text = README.read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```\w*\n(.*?)```", text, re.S) if block.startswith("Snakefile"))
    entries = [line.split()[0] for line in block.splitlines() if not line.startswith(" ")]
    assert not [name for name in entries if not (ROOT / name).exists()]
    visible = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    unnamed = visible - {name.split("/")[0] for name in entries}
    assert unnamed <= {"workflow", "profiles", "data", "site"} | {path.name for path in ROOT.glob("*.egg-info")}
    rooms = re.findall(r"\w+", next(line for line in block.splitlines() if "→" in line))
    assert set(rooms) == {path.parent.name for path in (ROOT / "softmax_rewards").glob("*/__init__.py")}
    named = re.findall(r"`((?:softmax_rewards|docs|benchmarks|config|tests)/[\w./-]+)`", text)
    assert not [path for path in named if not (ROOT / path).exists() and "top_half" not in path]  # an example


def table(heading: str) -> dict[str, str]:
    """Key → default, from the table below a heading of config/README.md."""
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:3] == "| `"
    ]
    return {row[0].strip("` "): row[-1].strip("` |") for row in rows}


SECTIONS = {
    "`training`": experiments.Training,
    "`evaluation`": experiments.Evaluation,
    "`config.yaml`": settings.Settings,
    "`warm_start`": warm_start.WarmStart,
    **{f"`task`: `{name}`": plugins.load(plugins.TASKS, name).Options for name in plugins.names(plugins.TASKS)},
    **{f"`model`: `{name}`": plugins.load(plugins.SOURCES, name).Options for name in plugins.names(plugins.SOURCES)},
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_configs_readme_lists_every_key_with_its_default(heading):
    listed = table(heading)
    fields = {item.name: item.default for item in dataclasses.fields(SECTIONS[heading])}
    assert list(listed) == list(fields)
    for name, field in fields.items():
        default = None if field.is_required() else field.default
        if isinstance(default, tuple):
            default = list(default)
        if isinstance(default, warm_start.WarmStart):  # a source's own: what differs from the common defaults
            common = dataclasses.asdict(warm_start.NONE)
            default = {key: value for key, value in dataclasses.asdict(default).items() if value != common[key]}
        written = yaml.safe_load(listed[name]) if listed[name] != "required" else None
        assert written == default, f"{heading} {name}: config/README.md says {listed[name]}, the code {default}"


def test_the_configs_readme_lists_every_key_of_an_experiment():
    keys = {item.name for item in dataclasses.fields(experiments.Experiment)} - {"name"}
    assert set(table("An experiment")) == keys | {"extends"}


def test_the_configs_readme_lists_every_key_of_an_ablation():
    keys = [item.name for item in dataclasses.fields(experiments.Ablation)]
    assert list(table("An ablation")) == [*keys, "from", "to", "steps", "shape"]  # with those of a schedule


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
    extras = dict(project["optional-dependencies"])
    del extras["vllm"]  # it pins versions of its own, which are not those of the tests
    wanted = project["dependencies"] + [need for extra in extras.values() for need in extra]
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {line.split("==")[0].lower() for line in lines}
    assert {re.split(r"[>=<\[]", need)[0].lower() for need in wanted} <= pinned


def test_every_experiment_stands_in_the_configs_readme():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    missing = [file.stem for file in (ROOT / "config/experiments").glob("*.yaml") if f"`{file.stem}`" not in text]
    assert not missing
