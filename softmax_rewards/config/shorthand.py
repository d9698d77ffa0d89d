"""Shorthand for experiments: the names of a data set, of some ablations and of a model become an experiment file.

Settings come from the first file of `config/experiments/` that has this data set and this model. If there is none, the
experiment gets its own settings:

* Puzzles: a model from the hub or from a folder gets those of the first file with this data set and a model from the
  hub, so that results can be compared. Other models get the data set's defaults.
* Training: the settings of the notes for their 3B model (`NOTES`), with a larger learning rate for the smallest models.
  Settings that save memory are added if the estimate of `cost.py` is above `MEMORY`. Only the embedded model `mini` has
  the default of every key instead.

The user's changes come last.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from softmax_rewards import weighting
from softmax_rewards.common import plugins
from softmax_rewards.config import cost, experiments, local_model, strict
from softmax_rewards.config.inheritance import INHERIT
from softmax_rewards.config.run import ConfigError, Evaluation, Training, canonical
from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape
from softmax_rewards.weighting import temperature

NOTES: dict[str, Any] = {
    "steps": 70,
    "prompts_per_step": 32,
    "group_size": 8,
    "max_new_tokens": 1024,
    "precision": "bfloat16",
}
LEARNING_RATES = ((3e8, 2e-5), (float("inf"), 1e-5))  # (largest number of parameters, learning rate)
MEMORY = 60e9  # bytes; a GPU has 80 GB
EVALUATION: dict[str, Any] = {"every": 10, "puzzles": 128, "pass_puzzles": 128}
TAU = 0.5  # for an ablation whose name has no temperature
NUMBER = r"[\d.]+(?:e-?\d+)?"  # what a temperature looks like in an ablation's name
LONGEST_NAME = 100

ALIASES = {"lr": "learning_rate"}  # short names of keys of `training`
SECTIONS = ("task", "model", "training", "evaluation")


def experiment(
    dataset: str,
    ablations: str,
    model: str,
    seeds: str | None = None,
    changes: Sequence[str] = (),
    folder: Path = Path("config/experiments"),
) -> tuple[str, dict[str, Any]]:
    """The name and the content of the experiment file that the arguments describe.

    `ablations` and `seeds` are lists with commas. Each entry of `changes` is `key=value`, with a dotted key and a value
    as in YAML. The name consists of data set, model, changes and a hash of all settings. Ablations and seeds are not
    part of the hash: they are folders within an experiment, so more of them can be added later. Raises ValueError with
    a message of one line for every mistake.
    """
    task = dataset.lower()
    if task not in (known := plugins.names(plugins.TASKS)):
        raise ConfigError(f"dataset: {plugins.unknown('dataset', dataset, known)}")
    values = _settings(task, model, folder)
    names = ["adhoc", task, Path(model.lower()).name]
    for key, value in _changes(changes):
        *parents, last = key.split(".")
        mapping = values
        for parent in parents:
            if not isinstance(mapping := mapping.setdefault(parent, {}), dict):
                raise ConfigError(f"set: {key}: {parent} has no keys of its own")
        mapping[last] = value
        names.append(f"{key.removeprefix('training.')}-{value}")
    if seeds is not None:
        values["seeds"] = [_seed(seed.strip()) for seed in seeds.split(",")]
    # Only after the changes, because one of them may set the number of steps.
    steps = strict.build(Training, values["training"], "training").steps
    specs: dict[str, dict[str, Any]] = {}
    for name in (word.strip() for word in ablations.split(",")):
        spec = {"weighting": _weighting(name, steps)}
        if twins := [other for other in specs if specs[other] == spec]:
            raise ConfigError(f"ablations: {name!r} is the same ablation as {twins[0]!r}; allowed: each ablation once")
        specs[name.lower()] = spec
    # The baseline is the linear ablation if there is one, else the first ablation.
    linear = [name for name, spec in specs.items() if spec["weighting"]["scheme"] == "linear"]
    values |= {"ablations": specs, "baseline": next(iter(linear or specs))}
    experiments.check("adhoc", values)
    return _name(names, {section: values[section] for section in SECTIONS}), values


def write(name: str, values: dict[str, Any], results: Path) -> Path:
    """Write the experiment's file into the folder of its results. Returns the file's path."""
    path = results / name / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110)
    path.write_text(
        f"# Made by run_experiment.py; copy it to config/experiments/ to change it.\n{text}", encoding="utf-8"
    )
    return path


def command(cores: str, resources: Sequence[str], dry: bool, others: Sequence[str]) -> list[str]:
    """Snakemake's command line without the experiment. `others` are further arguments, passed on unchanged.

    Raises ValueError for a malformed resource, and for an argument that would replace the experiment.
    """
    for word in resources:
        if not re.fullmatch(r"\w+=.+", word):
            raise ConfigError(f"resources: {word!r} is not allowed; allowed: NAME=N, such as gpu=8")
    for word in others:
        # Short options can be joined: -nC is -n and -C. -C is short for --config.
        if re.match("--config|-[A-Za-z]*C", word):
            instead = "--set KEY=VALUE, or keys in config/config.yaml"
            raise ConfigError(f"{word} is not allowed, because it would replace the experiment; allowed: {instead}")
    dry = dry or any(re.fullmatch(r"--dry-?run|-[A-Za-z]*n[A-Za-z]*", word) for word in others)
    more = ["--resources", *resources] * bool(resources) + ["--dry-run"] * dry
    return [sys.executable, "-m", "snakemake", *others, "--cores", cores, *more]


def _settings(task: str, name: str, folder: Path) -> dict[str, Any]:
    """The keys of an experiment, without its ablations."""
    try:
        model = _model(name)
        shape = cost.shape_of(model)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None
    # The other keys, such as the revision, are settings. A file in which they differ still has this model.
    identity = {key: value for key, value in model.items() if key in ("source", "repository", "shape", "path")}
    files = [strict.read(file) for file in sorted(folder.glob("*.yaml"))]
    whole = [file for file in files if all(isinstance(file.get(key), dict) for key in ("task", "model"))]
    # A file that extends another one has only its changes, so its settings are not complete.
    ours = [file for file in whole if file["task"].get("name") == task and INHERIT not in file]
    for file in ours:
        if file["model"].items() >= identity.items():
            return {key: file.get(key, {}) for key in (*SECTIONS, "seeds")}
    settings = {"task": {"name": task}, "model": model, "training": {}, "evaluation": {}, "seeds": [0, 1, 2]}
    if shape is not None:  # only the embedded model has no shape; it is trained with the default of every key
        settings |= {"training": _fitting(shape), "evaluation": dict(EVALUATION)}
    if model["source"] in ("hub", "local"):
        fetched = [file["task"] for file in ours if file["model"].get("source") == "hub"]
        settings["task"] = next(iter(fetched), settings["task"])
    return settings


def _fitting(shape: Shape) -> dict[str, Any]:
    """The `training` section for a model of this shape. It saves memory only if the estimate says it must."""
    rate = next(rate for most, rate in LEARNING_RATES if shape.parameters <= most)
    training = NOTES | {"learning_rate": rate}

    def memory() -> cost.Memory:
        return cost.memory(shape, Training(**training), Evaluation(**EVALUATION))

    # The cheaper option comes first. The next one is added only if the estimate is still above MEMORY.
    for saving in ({"gradient_checkpointing": True}, {"optimizer_state": "host"}):
        if memory().update > MEMORY:
            training |= saving
    rows = Training().rollout_batch_size
    while memory().rollout > MEMORY and rows > 1:
        training["rollout_batch_size"] = rows = rows // 2
    return training


def _model(name: str) -> dict[str, Any]:
    """The `model` section for `name`: an entry of the catalogue, `mini`, `smollm2`, `random:…` or a folder.

    An entry is found by its name or by its repository.
    """
    words = name.lower()
    if words in ("mini", "smollm2"):
        return {"source": words}
    if words.startswith("random:"):
        return {"source": "random", "shape": catalogue.find(words.partition(":")[2]).name}
    if "/" in name and Path(name).exists():
        if (found := local_model.problem(Path(name))) is not None:
            raise ConfigError(found)
        return {"source": "local", "path": name}
    for entry in catalogue.MODELS.values():
        if words in (entry.name, entry.repository.lower()):
            model = {"source": "hub", "repository": entry.repository, "revision": entry.revision}
            return model if entry.instruct else model | {"template": "base"}
    others = "mini, smollm2, random:<one of these>, a folder (with a / in its path); for other models of the hub"
    message = f"{plugins.unknown('model', name, catalogue.MODELS)}, {others} write an experiment file with source: hub"
    raise ConfigError(message)


def run(command: Sequence[str], name: str, values: dict[str, Any], results: Path) -> int:
    """Write the experiment's file, and call Snakemake with it; `command` as from `command`.

    Snakemake takes the place of this process. After a dry run, which shows the file and leaves nothing behind, the exit
    status is returned.
    """
    if "--dry-run" not in command:
        os.execv(command[0], [*command, f"--config=experiments=[{write(name, values, results)}]"])
    with tempfile.TemporaryDirectory() as folder:
        path = write(name, values, Path(folder))
        print(path.read_text(encoding="utf-8"), flush=True)
        return subprocess.run([*command, f"--config=experiments=[{path}]"]).returncode


def _weighting(word: str, steps: int) -> dict[str, Any]:
    """The weighting that an ablation's name `word` stands for: a scheme and, if the scheme has one, a temperature.

    `softmax_` at the start may be left out. `anneal-0.75-0.25` is softmax with τ that goes from 0.75 to 0.25 over the
    first half of the `steps`.
    """
    words = word.lower().replace("_", "-")
    schemes = {scheme.replace("_", "-"): scheme for scheme in weighting.names()}
    short = {name.removeprefix("softmax-"): scheme for name, scheme in schemes.items()}
    known = {"baseline": "linear"} | weighting.ALIASES | short | schemes
    allowed = [*sorted(known), "softmax-0.25 (any τ, also auto)", "anneal-0.75-0.25"]
    if match := re.fullmatch(f"anneal-({NUMBER})-({NUMBER})", words):
        start, end = map(_tau, match.groups())
        if start and end:  # both are allowed temperatures
            return {"scheme": "softmax", "tau": {"from": start, "to": end, "steps": max(steps // 2, 1)}}
    name, tau = words, None
    match = re.fullmatch(f"(.+?)-(auto|{NUMBER})", words)
    if match and words not in known and (tau := _tau(match[2])):
        name = match[1]
    scheme = known.get(name)
    if scheme is None or (tau is not None and "tau" not in weighting.hyperparameters(scheme)):
        raise ConfigError(f"ablations: {plugins.unknown('ablation', word, allowed)}")
    return {"scheme": scheme} | ({"tau": tau or TAU} if "tau" in weighting.hyperparameters(scheme) else {})


def _tau(text: str) -> float | str | None:
    """The temperature that `text` says: a number or "auto". None if `text` is not an allowed temperature."""
    try:
        tau = text if text == "auto" else float(text)
        temperature.validate(tau)
    except ValueError:
        return None
    return tau


def _changes(texts: Sequence[str]) -> list[tuple[str, Any]]:
    """`training.lr=1e-6` → ("training.learning_rate", 1e-6), sorted by key."""
    changes: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        section, _, rest = ("training.lr" if key == "lr" else key).partition(".")
        if not equals or not rest or section not in SECTIONS:
            allowed = ", ".join(f"{name}.<key>=<value>" for name in SECTIONS)
            more = "lr stands for training.learning_rate, and no other key has a short name"
            raise ConfigError(f"set: {text!r} is not allowed; allowed: {allowed}; {more}")
        key = f"{section}.{ALIASES.get(rest, rest) if section == 'training' else rest}"
        if key in changes:
            raise ConfigError(f"set: {key} is given twice; allowed: each key once")
        changes[key] = strict.value(value, f"set: {key}")
    # Sorted, so that the experiment's name does not depend on the order in which the user gives the changes.
    return sorted(changes.items())


def _name(words: Sequence[str], settings: dict[str, Any]) -> str:
    """A folder's name: the words, shortened and without unusual characters, then a hash of the settings."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-")
    # The hash takes 9 characters: a hyphen and 8 digits.
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(canonical(settings).encode()).hexdigest()[:8]}"


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"seeds: {text!r} is not allowed; allowed: integers from 0 on, with commas between them")
    return int(text)
