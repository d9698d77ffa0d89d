"""Configuration: YAML files in, frozen and validated experiments and runs out.

A run is defaults ⊕ experiment ⊕ ablation ⊕ seed, resolved once here and handed on as one sorted JSON string.
The defaults are those of the dataclasses: `Training` and `Evaluation` of `run.py`, `Options` of the task
(`softmax_rewards/data/tasks/<name>.py`) and of the model source (`softmax_rewards/models/sources/<source>.py`), and the
keyword parameters of the weighting scheme. Whatever is wrong is refused in one line that names the file, the
key, the value and what is allowed. `config/README.md` explains every key.
"""

import dataclasses
import functools
import inspect
import json
import math
import re
import tempfile
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from softmax_rewards import weighting
from softmax_rewards.common import plugins
from softmax_rewards.config.run import ConfigError, Evaluation, Run, Training, canonical, wrong
from softmax_rewards.config.strict import build, dotted, read, refuse_unknown, typed
from softmax_rewards.weighting import temperature

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # ablations and experiments become folders
INHERIT = "extends"
TAKEN = ("archive", "overview")  # folders of `results/` that are no experiment's


@dataclass(frozen=True)
class Ablation:
    """How rewards become weights, and what else differs from the experiment."""

    weighting: dict[str, Any]
    training: Training
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Experiment:
    """One file of `config/experiments/`, resolved and checked."""

    name: str
    task: dict[str, Any]
    model: dict[str, Any]
    training: Training
    evaluation: Evaluation
    seeds: tuple[int, ...]
    ablations: dict[str, Ablation]
    baseline: str = "baseline"
    primary: tuple[str, ...] = ()
    archive: str | None = None

    def run(self, ablation: str, seed: int) -> Run:
        chosen = self.ablations[ablation]
        return Run(ablation, seed, self.task, self.model, chosen.training, self.evaluation, chosen.weighting)

    def runs(self) -> list[Run]:
        return [self.run(name, seed) for name, ablation in self.ablations.items() for seed in ablation.seeds]

    def to_json(self) -> str:
        return canonical(dataclasses.asdict(self))


def load(path: Path) -> Experiment:
    """Read one experiment file.

    `extends: <name>` names a file beside this one or else an experiment of the project. This file is merged into it,
    key by key; a key set to null is removed. Errors: `ConfigError`, one line that begins with the file.
    """
    try:
        return check(path.stem, _merged(path))
    except ValueError as error:
        raise ConfigError(str(error) if str(error).startswith(f"{path}:") else f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; allowed: a few levels") from None


def options(kind: Literal["tasks", "sources"], spec: Mapping[str, Any]) -> Any:
    """The `Options` of the module that a resolved `task` or `model` mapping names."""
    where, key = _KINDS[kind]
    module = _plugin(kind, spec[key], f"{where}.{key}")
    return build(module.Options, {name: value for name, value in spec.items() if name != key}, where)


@dataclass(frozen=True)
class Settings:
    """`config/config.yaml`: what runs, and where its files lie (relative to the repository)."""

    experiments: tuple[str, ...] = field(default=("countdown-mini",))
    results: str = "results"
    data: str = "data"
    archived_only: bool = False


def settings(values: Mapping[str, Any], file: str) -> tuple[Settings, dict[str, Experiment]]:
    """Check `config/config.yaml` and load its experiments, keyed by name.

    An entry of `experiments` is a name (`config/experiments/<name>.yaml`) or the path of a YAML file.
    """
    try:
        chosen = build(Settings, values, "")
        if not chosen.experiments:
            raise wrong("experiments", [], "at least one experiment")
        for key in ("results", "data"):
            _refuse_unwritable(Path(getattr(chosen, key)), key)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    folder = own_folder()
    loaded: dict[str, Experiment] = {}
    for entry in chosen.experiments:
        path = Path(entry) if entry.endswith((".yaml", ".yml")) else folder / f"{entry}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            message = plugins.unknown("experiment", entry, known)
            raise ConfigError(f"{file}: experiments: {message}, or the path of a YAML file")
        if path.stem in loaded:
            raise ConfigError(f"{file}: experiments: {path.stem!r} is given twice; allowed: each name once")
        loaded[path.stem] = load(path)
    return chosen, loaded


# --- reading and merging --------------------------------------------------------------------------


def own_folder() -> Path:
    """The folder of the project's own experiments."""
    # The pipeline runs at the root of a repository, perhaps a copy of this one; the experiments there count. Elsewhere,
    # as in a notebook, the experiments of the library's own repository count.
    here = Path("config/experiments")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / here


def _merged(path: Path) -> dict[str, Any]:
    chain, layers = [path], [read(path)]  # the file itself, what it extends, what that extends …
    while (name := layers[-1].pop(INHERIT, None)) is not None:
        files = _extendable(chain[-1])
        source = files.get(str(name))
        if source is None:
            others = sorted(other for other, file in files.items() if not _among(chain, file))
            raise ConfigError(f"{chain[-1]}: {INHERIT}: {plugins.unknown('experiment', name, others)}")
        if _among(chain, source):
            names = " → ".join(file.stem for file in [*chain, source])
            raise ConfigError(
                f"{INHERIT}: {names} goes round in a circle; allowed: files that do not extend each other"
            )
        chain.append(source)
        layers.append(read(source))
    if len(chain) > 1:
        load(chain[1])  # so that a mistake in a parent is reported with the parent's name
    return functools.reduce(_merge, reversed(layers))


def _extendable(path: Path) -> dict[str, Path]:
    """Name → file of the experiments that the file `path` may extend."""
    beside, of_project = ({file.stem: file for file in folder.glob("*.yaml")} for folder in (path.parent, own_folder()))
    if path.stem in of_project:
        beside.pop(path.stem, None)  # so that a copy may extend the experiment whose name it has
    return of_project | beside


def _among(files: list[Path], file: Path) -> bool:
    """Whether `file` is one of `files`, also if their paths are written differently."""
    return file.absolute() in [other.absolute() for other in files]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result


# --- from mappings to an experiment ---------------------------------------------------------------

_KINDS = {"tasks": ("task", "name"), "sources": ("model", "source")}  # section and key that choose a plug-in
_PACKAGES = {"tasks": plugins.TASKS, "sources": plugins.SOURCES, "weighting": plugins.SCHEMES}
_NOUNS = {"tasks": "task", "sources": "model source", "weighting": "scheme"}
_KEYS = [item.name for item in dataclasses.fields(Experiment) if item.name != "name"]


def check(name: str, values: dict[str, Any]) -> Experiment:
    """The experiment `name` from its file's keys, `extends` merged already. Errors: one line, without the file."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"the file's name {name!r} is not allowed; allowed: letters, digits and . _ -")
    if name in TAKEN:
        raise ConfigError(f"the file's name {name!r} is not allowed; allowed: any but {' and '.join(TAKEN)}")
    refuse_unknown(values, [*_KEYS, INHERIT], "")
    for key in ("task", "model", "seeds", "ablations"):
        if key not in values:
            raise ConfigError(f"{key}: missing; it has no default")
    task, model = _resolve("tasks", values["task"]), _resolve("sources", values["model"])
    training = values.get("training", {})
    evaluation = build(Evaluation, values.get("evaluation", {}), "evaluation")
    if evaluation.puzzles > task.get("test", evaluation.puzzles):
        raise wrong("evaluation.puzzles", evaluation.puzzles, f"at most task.test ({task['test']})")
    seeds = _seeds(values["seeds"], "seeds")
    shared = build(Training, training, "training")
    specs = values["ablations"]
    if not isinstance(specs, dict) or not specs:
        raise wrong("ablations", specs, "a mapping from names to weighting and settings, at least one")
    ablations = {name: _ablation(name, spec, training, seeds) for name, spec in specs.items()}
    if (most := max(ablation.training.gpus for ablation in ablations.values())) > evaluation.puzzles:
        raise wrong("evaluation.puzzles", evaluation.puzzles, f"at least training.gpus ({most})")
    baseline = typed(values.get("baseline", Experiment.baseline), str, "baseline")
    primary = typed(values.get("primary", []), tuple[str, ...], "primary")
    for key, ablation in [("baseline", baseline), *(("primary", member) for member in primary)]:
        if ablation not in ablations:
            raise ConfigError(f"{key}: {plugins.unknown('ablation', ablation, ablations)}")
    if baseline in primary or len(set(primary)) < len(primary):
        raise wrong("primary", list(primary), "each ablation once, and not the baseline")
    archive = typed(values.get("archive"), str | None, "archive")
    return Experiment(name, task, model, shared, evaluation, seeds, ablations, baseline, primary, archive)


def _resolve(kind: Literal["tasks", "sources"], spec: Any) -> dict[str, Any]:
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


def _ablation(name: str, spec: Any, training: dict[str, Any], seeds: tuple[int, ...]) -> Ablation:
    where = f"ablations.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}: the name is not allowed; allowed: letters, digits and . _ -")
    if not isinstance(spec, dict):
        raise wrong(where, spec, "a mapping with the key weighting, and if need be training and seeds")
    refuse_unknown(spec, ["weighting", "training", "seeds"], where)
    overrides = spec.get("training", {})
    if not isinstance(overrides, dict):
        raise wrong(f"{where}.training", overrides, "a mapping of keys")
    try:
        build(Training, overrides, "training")  # the ablation's own keys first, so that the message names them
        merged = build(Training, {**training, **overrides}, "training")
    except ValueError as error:
        raise ConfigError(f"{where}.{error}") from None
    ablation_seeds = _seeds(spec["seeds"], f"{where}.seeds") if "seeds" in spec else seeds
    return Ablation(_weighting(spec.get("weighting"), f"{where}.weighting"), merged, ablation_seeds)


def _weighting(spec: Any, where: str) -> dict[str, Any]:
    if not isinstance(spec, dict) or not isinstance(spec.get("scheme"), str):
        allowed = ", ".join(plugins.names(plugins.SCHEMES))
        raise ConfigError(f"{where}.scheme: missing or not text; allowed: {allowed}")
    scheme = weighting.scheme_of(spec["scheme"])
    _plugin("weighting", scheme, f"{where}.scheme")
    parameters = weighting.hyperparameters(scheme)
    hyperparameters = {key: value for key, value in spec.items() if key != "scheme"}
    refuse_unknown(hyperparameters, list(parameters), where, what=f"hyperparameter of {scheme}")
    resolved: dict[str, Any] = {"scheme": scheme}
    for key, default in parameters.items():
        if key not in hyperparameters and default is inspect.Parameter.empty:
            raise ConfigError(f"{dotted(where, key)}: missing; scheme {scheme} has no default for it")
        value = hyperparameters.get(key, default)
        if key == "tau":  # may be a schedule or `auto`
            try:
                temperature.validate(value)
            except ValueError as error:
                raise ConfigError(f"{where}.tau: {error}") from None
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not -math.inf < value < math.inf:
            raise wrong(dotted(where, key), value, "a finite number")
        resolved[key] = float(value) if key == "tau" and isinstance(value, int) else value
    return resolved


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    seeds = typed(value, tuple[int, ...], where)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise wrong(where, list(seeds), "at least one integer from 0 on, each once")
    return seeds


def _refuse_unwritable(folder: Path, key: str) -> None:
    nearest = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    try:
        # Trying is the only sure way: permission bits say nothing to root or on a read-only file system.
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        allowed = "a folder that can be written, or made"
        raise ConfigError(f"{key}: {folder} cannot be written ({error.strerror}); allowed: {allowed}") from None
