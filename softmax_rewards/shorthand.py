"""Shorthand for experiments: a data set, some arms and a model by name become an experiment file.

Settings come from the first file of `config/experiments/` that has this data set and this very model. For a model
that has none they are the data set's defaults and those of the notes for their 3B (`NOTES`), with a larger learning
rate for the smallest, and with what it takes, by the estimate of `cost.py`, to stay below `MEMORY` on the device.
What is given by hand comes on top.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from softmax_rewards import config, cost, plugins, strict, temperature, weighting
from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape
from softmax_rewards.run import ConfigError, Evaluation, Training

NOTES = {"steps": 70, "prompts": 32, "samples": 8, "max_new_tokens": 1024, "precision": "bfloat16"}
LEARNING_RATES = ((3e8, 2e-5), (float("inf"), 1e-5))  # up to so many parameters
MEMORY = 60e9  # bytes, of a GPU's 80 GB
EVALUATION = {"every": 10, "puzzles": 128, "pass_puzzles": 128}
TAU = 0.5  # where an arm names none
LONGEST_NAME = 100

ALIASES = {"lr": "learning_rate"}  # of keys; there are no others
SECTIONS = ("task", "model", "training", "evaluation")


def experiment(
    dataset: str,
    ablations: Sequence[str],
    model: str,
    seeds: Sequence[str] = (),
    changes: Sequence[str] = (),
    folder: Path = Path("config/experiments"),
) -> tuple[str, dict[str, Any]]:
    """The name and the content of the experiment file that the words stand for.

    `changes` are `key=value` with dotted keys, values as in YAML. The name depends on data set, model and changes:
    arms and seeds are folders within an experiment, so that more of them can be asked for later. Raises ValueError, in
    one line, for whatever is wrong.
    """
    task = dataset.lower()
    if task not in (known := plugins.names("softmax_rewards.tasks")):
        raise ConfigError(plugins.unknown("dataset", dataset, known))
    values = _settings(task, _model(model), folder)
    names = ["adhoc", task, Path(model).name if "/" in model else model.lower()]
    for keys, value in sorted(map(_change, changes), key=lambda change: change[0]):
        place = values
        for key in keys[:-1]:
            if not isinstance(place := place.setdefault(key, {}), dict):
                raise ConfigError(f"set: {'.'.join(keys)}: {key} has no keys of its own")
        place[keys[-1]] = value
        names.append(f"{'.'.join(keys).removeprefix('training.')}-{value}")
    if seeds:
        values["seeds"] = [_seed(seed) for seed in seeds]
    steps = strict.build(Training, values["training"], "training").steps
    if twice := {arm for arm in ablations if ablations.count(arm) > 1}:
        raise ConfigError(f"ablations: {min(twice)!r} is given twice; allowed: each once")
    values["ablations"] = {arm.lower(): {"weighting": _weighting(arm, steps)} for arm in ablations}
    linear = [arm for arm, spec in values["ablations"].items() if spec["weighting"]["scheme"] == "linear"]
    values["baseline"] = next(iter(linear or values["ablations"]), "baseline")
    name = _name(names)
    config.check(name, json.loads(json.dumps(values)))
    return name, values


def write(name: str, values: dict[str, Any], results: Path) -> Path:
    """Write the experiment's file beside its results-to-be; returns its path."""
    path = results / name / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
    path.write_text(
        f"# Made by run_experiment.py; copy it to config/experiments/ to change it.\n{text}", encoding="utf-8"
    )
    return path


def _settings(task: str, model: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of an experiment but its arms."""
    identity = {key: value for key, value in model.items() if key in ("source", "repository", "shape", "path")}
    for file in sorted(folder.glob("*.yaml")):
        found = strict.read(file)
        is_ours = found.get("task", {}).get("name") == task
        if is_ours and all(found.get("model", {}).get(key) == value for key, value in identity.items()):
            return {key: found[key] for key in (*SECTIONS, "seeds") if key in found}
    settings = {"task": {"name": task}, "model": model, "training": {}, "evaluation": {}, "seeds": [0, 1, 2]}
    if model["source"] != "mini":  # its training and evaluation are the defaults of every key
        settings |= {"training": _fitting(cost.shape_of(model)), "evaluation": dict(EVALUATION)}
    return settings


def _fitting(shape: Shape) -> dict[str, Any]:
    """The `training` section for a pretrained model: what saves memory is chosen only where it is needed."""
    rate = next(rate for most, rate in LEARNING_RATES if shape.parameters <= most)
    training = NOTES | {"learning_rate": rate}

    def memory() -> cost.Memory:
        return cost.memory(shape, Training(**training), Evaluation(**EVALUATION))

    for saving in ({"gradient_checkpointing": True}, {"optimiser_state": "host"}):
        if memory().update > MEMORY:
            training |= saving
    rows = Training.rollout_rows
    while memory().rollout > MEMORY and rows > 1:
        training["rollout_rows"] = rows = rows // 2
    return training


def _model(name: str) -> dict[str, Any]:
    """The `model` section for a name of the catalogue, `mini`, `smollm2`, `random:<name>` or a folder."""
    if name.lower() in ("mini", "smollm2"):
        return {"source": name.lower()}
    if name.lower().startswith("random:"):
        return {"source": "random", "shape": catalogue.find(name.partition(":")[2]).name}
    if "/" in name:
        if not (Path(name) / "config.json").is_file():
            raise ConfigError(f"model: {name}/config.json is not there; allowed: a folder with a checkpoint")
        return {"source": "local", "path": name}
    if name.lower() not in catalogue.MODELS:
        others = "mini, smollm2, random:<one of these>, a folder (with a / in its path)"
        raise ConfigError(f"{plugins.unknown('model', name, catalogue.MODELS)}, {others}")
    entry = catalogue.find(name)
    model = {"source": "hub", "repository": entry.repository, "revision": entry.revision}
    return model if entry.instruct else model | {"template": "base"}


def _weighting(arm: str, steps: int) -> dict[str, Any]:
    """What an arm's name stands for: a scheme, which `softmax_` may be left out of, and if it has one its temperature.

    `anneal-0.75-0.25` is softmax with τ falling over the first half of the `steps`.
    """
    words = arm.lower().replace("_", "-").replace("centred", "centered")
    schemes = {scheme.replace("_", "-"): scheme for scheme in weighting.names()}
    short = {name.removeprefix("softmax-"): scheme for name, scheme in schemes.items()}
    known = {"baseline": "linear"} | short | schemes
    allowed = [*sorted(known), "softmax-0.25 (any τ, also auto)", "anneal-0.75-0.25"]
    refusal = ConfigError(f"ablations: {plugins.unknown('ablation', arm, allowed)}")
    if words.startswith("anneal-"):
        ends = [_tau(part) for part in words.split("-")[1:]]
        if len(ends) != 2 or None in ends or "auto" in ends:
            raise refusal
        return {"scheme": "softmax", "tau": {"from": ends[0], "to": ends[1], "steps": max(steps // 2, 1)}}
    name, dash, last = words.rpartition("-")
    tau = _tau(last) if dash and words not in known else None
    scheme = known.get(words if tau is None else name)
    if scheme is None or (tau is not None and "tau" not in weighting.hyperparameters(scheme)):
        raise refusal
    return {"scheme": scheme} | ({"tau": tau or TAU} if "tau" in weighting.hyperparameters(scheme) else {})


def _tau(text: str) -> float | str | None:
    """A temperature as a config may have it, None if `text` is none."""
    try:
        tau = text if text == "auto" else float(text)
        temperature.validate(tau)
    except ValueError:
        return None
    return tau


def _change(text: str) -> tuple[list[str], Any]:
    """`training.lr=1e-6` → (["training", "learning_rate"], 1e-6)."""
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if keys == ["lr"]:
        keys = ["training", "lr"]
    keys[-1] = ALIASES.get(keys[-1], keys[-1])
    if not equals or len(keys) < 2 or keys[0] not in SECTIONS:
        allowed = ", ".join(f"{section}.<key>=<value>" for section in SECTIONS)
        raise ConfigError(
            f"set: {text!r} is not allowed; allowed: {allowed}; lr stands for learning_rate, nothing else is short"
        )
    return keys, strict.value(value)


def _name(words: Sequence[str]) -> str:
    """A folder's name of the words, readable as far as it is not too long."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"seeds: {text!r} is not allowed; allowed: integers from 0 on, with commas between them")
    return int(text)
