"""Configuration: YAML files in, frozen and checked experiments and runs out.

A run is made of four layers: defaults, experiment, ablation, seed. They are resolved once, here, and handed on as one
sorted JSON string. The defaults stand with the keys: `Training` and `Evaluation` in `run.py`, `Options` of the task
(`softmax_rewards/data/tasks/<name>.py`) and of the model source (`softmax_rewards/models/sources/<source>.py`), and the
keyword parameters of the weighting scheme. A mistake is refused in one line that names the file, the key, the value and
what is allowed. `config/README.md` explains every key.
"""

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from softmax_rewards import weighting
from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError, Unfit, wrong
from softmax_rewards.common.options import Count, Listed, field_values, option_class
from softmax_rewards.config import base_seeds, conditions
from softmax_rewards.config.conditions import Conditions
from softmax_rewards.config.inheritance import INHERIT, read_merged
from softmax_rewards.config.run import Evaluation, Run, Training, canonical
from softmax_rewards.config.strict import build
from softmax_rewards.weighting import temperature
from softmax_rewards.weighting.number import Number

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # ablations and experiments become folders
ARCHIVES = "results/archive"  # one folder per experiment
TAKEN = ("archive", "overview")  # folders of `results/` that are no experiment's


def _check_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise Unfit("", seeds, "at least one integer from 0 on, each once")
    return seeds


Seeds = Annotated[
    Listed[int], AfterValidator(_check_seeds), Field(json_schema_extra={"minItems": 1, "uniqueItems": True})
]


@option_class("ablation")
class Ablation:
    """How rewards become weights, and what else differs from the experiment."""

    weighting: dict[str, Any] = Field(
        description="`scheme`, a file of `softmax_rewards/weighting/schemes/`, and its hyperparameters."
    )
    training: Training = Field(default=Training(), description="Keys of `training` that differ in this ablation.")
    seeds: Seeds = Field(
        description="Seeds of this ablation, if they differ.",
        json_schema_extra={"inherited": "those of the experiment"},
    )

    @field_validator("weighting", mode="before")
    @classmethod
    def _resolve_weighting(cls, spec: Any) -> dict[str, Any]:
        return _weighting(spec)


@option_class("")
class Experiment:
    """One file of `config/experiments/`, resolved and checked."""

    name: str = Field(description="The file's name without its ending.")
    task: dict[str, Any] = Field(
        description="The puzzles: `name`, a file of `softmax_rewards/data/tasks/`, and its options."
    )
    model: dict[str, Any] = Field(
        description="The base model: `source`, a file of `softmax_rewards/models/sources/`, and its options."
    )
    training: Training = Field(default=Training(), description="Settings of every run.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is measured on held-out puzzles.")
    seeds: Seeds = Field(description="Integers from 0 on. Each ablation is run once with each seed.")
    bases: Count = Field(
        default=1,
        description="Number of base models. Seed s starts from base s mod `bases`. Base k adds k to `task.seed`, "
        "`model.seed` and `model.warm_start.seed`, so it has its own puzzles, also held-out ones. With several bases, "
        "the intervals of `mixed.csv` speak of bases instead of seeds.",
    )
    ablations: dict[str, Ablation] = Field(description="The ablations by name.")
    baseline: str = Field(default="baseline", description="The ablation that all others are compared with.")
    primary: Listed[str] = Field(
        default=(),
        description="Ablations whose comparisons with the baseline are planned. They are adjusted together (Holm). All "
        "other comparisons are exploratory.",
    )
    conditions: Conditions = Field(
        default_factory=dict,
        description="Parts that are judged apart, by name. An ablation that no part names belongs to the first one.",
        json_schema_extra={"inherited": "`{}`"},
    )
    archive: str | None = Field(
        default=None,
        description="Folder with tables of earlier runs, `results/archive/<experiment>`. Runs with equal settings and "
        "equal code are taken from there and not trained again. `null`: no archive.",
    )

    def run(self, ablation: str, seed: int) -> Run:
        chosen = self.ablations[ablation]
        task, model = base_seeds.shifted(self.task, self.model, seed % self.bases)
        return Run(ablation, seed, task, model, chosen.training, self.evaluation, chosen.weighting)

    def runs(self) -> list[Run]:
        return [self.run(name, seed) for name, ablation in self.ablations.items() for seed in ablation.seeds]

    def to_json(self) -> str:
        return canonical(dataclasses.asdict(self))

    @field_validator("task", mode="before")
    @classmethod
    def _resolve_task(cls, spec: Any) -> dict[str, Any]:
        return _resolve("tasks", spec)

    @field_validator("model", mode="before")
    @classmethod
    def _resolve_model(cls, spec: Any) -> dict[str, Any]:
        return _resolve("sources", spec)

    @field_validator("ablations", mode="before")
    @classmethod
    def _complete_ablations(cls, specs: Any, info: ValidationInfo) -> dict[str, Ablation]:
        if not isinstance(specs, dict) or not specs:
            raise Unfit("", specs, "a mapping from names to weighting and settings, at least one")
        if not {"training", "seeds"} <= info.data.keys():  # they are wrong themselves, which is reported instead
            return {}
        return {name: _ablation(name, spec, info.data["training"], info.data["seeds"]) for name, spec in specs.items()}

    @model_validator(mode="after")
    def _check_puzzles(self) -> Self:
        puzzles, most = self.evaluation.puzzles, self.task.get("test")
        if most is not None and puzzles > most:
            raise Unfit("evaluation.puzzles", puzzles, f"at most task.test ({most})")
        gpus = max(ablation.training.gpus for ablation in self.ablations.values())
        for key in ("puzzles", "pass_puzzles") if self.evaluation.pass_every else ("puzzles",):
            if (count := getattr(self.evaluation, key)) < gpus:
                raise Unfit(f"evaluation.{key}", count, f"at least training.gpus ({gpus})")
        return self

    @model_validator(mode="after")
    def _check_bases(self) -> Self:
        seeds = {name: ablation.seeds for name, ablation in self.ablations.items()}
        base_seeds.check(self.bases, self.task, self.model, seeds)
        return self

    @model_validator(mode="after")
    def _check_comparisons(self) -> Self:
        conditions.check(self.conditions, self.ablations, self.baseline, self.primary)
        return self


def load(path: Path) -> Experiment:
    """Read one experiment file.

    `extends: <name>` names a file beside this one, or else an experiment of the project. This file's keys are merged
    into that file's keys. A key set to null is removed. Errors: `ConfigError`, one line that begins with the file.
    """
    try:
        values, parent = read_merged(path)
        if parent is not None:
            load(parent)  # so that a mistake in a parent is reported with the parent's name
        return check(path.stem, values)
    except ValueError as error:
        raise ConfigError(str(error) if str(error).startswith(f"{path}:") else f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; allowed: a few levels") from None


def options(kind: Literal["tasks", "sources"], spec: Mapping[str, Any]) -> Any:
    """The `Options` of the module that a resolved `task` or `model` mapping names."""
    where, key = _KINDS[kind]
    module = _plugin(kind, spec[key], f"{where}.{key}")
    return build(module.Options, {name: value for name, value in spec.items() if name != key}, where)


# --- from mappings to an experiment ---------------------------------------------------------------

_KINDS = {"tasks": ("task", "name"), "sources": ("model", "source")}  # section and key that choose a plug-in
_ANY = Number("")  # a hyperparameter that its scheme does not describe: any finite number
_PACKAGES = {"tasks": plugins.TASKS, "sources": plugins.SOURCES, "weighting": plugins.SCHEMES}
_NOUNS = {"tasks": "task", "sources": "model source", "weighting": "scheme"}


def check(name: str, values: dict[str, Any]) -> Experiment:
    """The experiment `name` from its file's keys, `extends` merged already. Errors: one line, without the file."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"the file's name {name!r} is not allowed; allowed: letters, digits and . _ -")
    if name in TAKEN:
        raise ConfigError(f"the file's name {name!r} is not allowed; allowed: any but {' and '.join(TAKEN)}")
    known = [item.name for item in dataclasses.fields(Experiment) if item.name != "name"] + [INHERIT]
    if unknown := [key for key in values if key not in known]:
        raise ConfigError(f"{unknown[0]}: {plugins.unknown('key', unknown[0], known)}")
    return build(Experiment, {"name": name, **values}, "")


def _resolve(kind: Literal["tasks", "sources"], spec: Any) -> dict[str, Any]:
    """A `task` or `model` mapping with every default filled in, as JSON has it."""
    where, key = _KINDS[kind]
    if not isinstance(spec, dict) or not isinstance(spec.get(key), str):
        allowed = ", ".join(plugins.names(_PACKAGES[kind]))
        raise ConfigError(f"{where}.{key}: missing or not text; allowed: {allowed}")
    filled = dataclasses.asdict(options(kind, spec))
    return json.loads(json.dumps({key: spec[key], **filled}))


def _plugin(kind: str, name: str, where: str) -> types.ModuleType:
    try:
        return plugins.load(_PACKAGES[kind], name, _NOUNS[kind])
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _ablation(name: str, spec: Any, training: Training, seeds: tuple[int, ...]) -> Ablation:
    """An ablation; `training` and `seeds` are the experiment's own."""
    if isinstance(spec, Ablation):
        return spec
    where = f"ablations.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}: the name is not allowed; allowed: letters, digits and . _ -")
    if not isinstance(spec, dict):
        raise wrong(where, spec, "a mapping with the key weighting, and if need be training and seeds")
    if isinstance(changes := spec.get("training", {}), dict):
        spec = spec | {"training": field_values(training) | changes}
    return build(Ablation, {"seeds": seeds, **spec}, where)


def _weighting(spec: Any) -> dict[str, Any]:
    """The `weighting` of an ablation with the scheme's own name and all its hyperparameters."""
    if not isinstance(spec, dict) or not isinstance(spec.get("scheme"), str):
        allowed = ", ".join(plugins.names(plugins.SCHEMES))
        raise ConfigError(f"weighting.scheme: missing or not text; allowed: {allowed}")
    scheme = weighting.scheme_of(spec["scheme"])
    _plugin("weighting", scheme, "weighting.scheme")
    parameters, numbers = weighting.hyperparameters(scheme), weighting.numbers(scheme)
    if unknown := [key for key in spec if key not in {"scheme", *parameters}]:
        message = plugins.unknown(f"hyperparameter of {scheme}", unknown[0], parameters)
        raise ConfigError(f"weighting.{unknown[0]}: {message}")
    resolved: dict[str, Any] = {"scheme": scheme}
    for key, default in parameters.items():
        value = spec.get(key, default)
        if value is inspect.Parameter.empty:
            raise ConfigError(f"weighting.{key}: missing; scheme {scheme} has no default for it")
        if key == "tau":  # may be a schedule or `auto`
            try:
                temperature.validate(value)
            except ValueError as error:
                raise ConfigError(f"weighting.{error}") from None
            value = float(value) if isinstance(value, int) else value
        elif not (number := numbers.get(key, _ANY)).admits(value):
            raise wrong(f"weighting.{key}", value, number.allowed())
        resolved[key] = value
    return resolved
