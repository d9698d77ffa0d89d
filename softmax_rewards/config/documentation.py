"""Documentation of the configuration, generated from its classes. `softmax-rewards generate-docs` writes it.

The key tables of `config/README.md` lie between markers; the text around them is written by hand. `config/schema.json`
describes an experiment file to an editor. A new task or model source gets its table and its part of the schema by
itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from softmax_rewards.common import generated_section, plugins
from softmax_rewards.common.option_errors import allowed
from softmax_rewards.config import schema
from softmax_rewards.config.conditions import Condition
from softmax_rewards.config.experiments import Ablation, Experiment
from softmax_rewards.config.run import Evaluation, Training
from softmax_rewards.config.settings import Settings
from softmax_rewards.weighting.tau_forms import Schedule

ROOT = Path(__file__).resolve().parents[2]
README, SCHEMA = "config/README.md", "config/schema.json"
SECTIONS = {
    "config.yaml": Settings,
    "experiment": Experiment,
    "ablation": Ablation,
    "condition": Condition,
    "schedule": Schedule,
    "training": Training,
    "evaluation": Evaluation,
}
BEGIN, END = "<!-- keys of {}: generated, see `softmax-rewards generate-docs` -->", "<!-- end of keys -->"
FURTHER = "<!-- further {} -->"  # where the section of a new plug-in is written


def generated() -> dict[str, str]:
    """File (relative to the repository) → its text as it should be."""
    text = json.dumps(schema.experiment_file(), indent=1, ensure_ascii=False)
    return {README: fill((ROOT / README).read_text(encoding="utf-8")), SCHEMA: f"{text}\n"}


def fill(text: str) -> str:
    """The README with all tables as they should be, and with a section for every plug-in that had none."""
    for name, keys in tables().items():
        begin = BEGIN.format(name)
        if begin not in text:
            section, _, plugin = name.partition(" ")
            package = {"task": plugins.TASKS, "model": plugins.SOURCES}[section]
            purpose = (plugins.load(package, plugin).__doc__ or "").partition("\n")[0]
            new = f"## `{section}`: `{plugin}`\n\n{purpose}\n\n{begin}\n{END}\n\n"
            text = text.replace(FURTHER.format(section), new + FURTHER.format(section))
        text = generated_section.replace(text, begin, END, f"\n{keys}\n")
    return text


def tables() -> dict[str, str]:
    """Name of a marker → the table of the keys there."""
    found = {name: TypeAdapter(cls).json_schema() for name, cls in SECTIONS.items()}
    for section, package in (("task", plugins.TASKS), ("model", plugins.SOURCES)):
        for name in plugins.names(package):
            found[f"{section} {name}"] = TypeAdapter(plugins.load(package, name).Options).json_schema()
    starts = [one["$defs"]["WarmStart"] for one in found.values() if "WarmStart" in one.get("$defs", {})]
    return {name: _table(keys) for name, keys in (found | {"warm_start": starts[0]}).items()}


def _table(keys: Mapping[str, Any]) -> str:
    """A Markdown table: one row per key of a JSON schema."""
    rows = ["| key | meaning | allowed | default |", "|---|---|---|---|"]
    for name, key in schema.described(keys["properties"]).items():
        reference = keys.get("$defs", {}).get(key.get("$ref", "").rpartition("/")[2], {})
        rows.append(f"| `{name}` | {key['description']} | {allowed(key)} | {_default(key, reference)} |")
    return "\n".join(rows) + "\n"


def _default(key: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """A key's default as YAML; of a mapping only what differs from the defaults of `reference`, its own keys."""
    if "default" not in key:
        return key.get("inherited", "required")
    default = key["default"]
    if reference:
        common = reference["properties"]
        default = {name: value for name, value in default.items() if value != common[name].get("default")}
    text = yaml.safe_dump(default, default_flow_style=True, sort_keys=False, width=1000)
    return f"`{text.splitlines()[0]}`"
