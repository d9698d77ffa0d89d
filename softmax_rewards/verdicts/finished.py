"""Finished runs: read from folders or an archive, and checked that they are complete and can be compared."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from softmax_rewards.common import plugins
from softmax_rewards.config import base_seeds

FILES = (
    "run.json",
    "metrics.csv",
    "groups.csv",
    "evaluations.csv",
    "samples.jsonl",
    "evaluation.json",
    "puzzles.csv",
)


class EvaluatedRun(Protocol):
    """What a comparison of success needs to know of a run. Runs of other trainers have this much too."""

    @property
    def ablation(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def evaluations(self) -> pd.DataFrame: ...  # columns step, success, tokens


AnyRun = TypeVar("AnyRun", bound=EvaluatedRun)


@dataclass(frozen=True)
class FinishedRun:
    """The files of one finished run, read."""

    origin: str  # its folder, or its archive and name; for messages
    record: dict[str, Any]  # run.json
    metrics: pd.DataFrame
    groups: pd.DataFrame
    evaluations: pd.DataFrame
    evaluation: dict[str, Any]
    puzzles: pd.DataFrame
    samples: list[dict[str, Any]]
    """The texts kept at each evaluation: step, puzzle, prompt, completion, reward, correct."""
    base: dict[str, Any] | None = None
    """The evaluation of the run's base model (`bases.py`); None if it was not evaluated."""

    @property
    def comparable_base(self) -> dict[str, Any] | None:
        """`base`, unless the run's success was measured under a hidden budget, which the base's evaluation lacks."""
        return None if self.record["config"]["training"].get("hidden_budget") else self.base

    @property
    def ablation(self) -> str:
        return self.record["ablation"]

    @property
    def seed(self) -> int:
        return self.record["seed"]


def load(
    folders: Sequence[Path], experiment: Mapping[str, Any], archived: Sequence[FinishedRun] = ()
) -> list[FinishedRun]:
    """Read the runs in `folders` and check them together with the `archived` ones.

    Returns the baseline's runs first, then the others in the experiment's order of ablations, and by seed. Raises
    ValueError, one line with the runs' names.
    """
    runs = [*map(read, folders), *archived]
    check(runs, experiment)
    order = [experiment["baseline"], *experiment["ablations"]]
    return sorted(runs, key=lambda run: (order.index(run.ablation), run.seed))


def read(folder: Path) -> FinishedRun:
    """Read one run. Raises ValueError if a file is missing or training did not reach its last step."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: {', '.join(missing)} missing; train and evaluate this run first")
    run = FinishedRun(
        str(folder),
        json.loads((folder / "run.json").read_text(encoding="utf-8")),
        pd.read_csv(folder / "metrics.csv"),
        pd.read_csv(folder / "groups.csv"),
        pd.read_csv(folder / "evaluations.csv"),
        json.loads((folder / "evaluation.json").read_text(encoding="utf-8")),
        pd.read_csv(folder / "puzzles.csv"),
        read_samples(folder / "samples.jsonl"),
    )
    return complete(run)


def read_samples(file: Path) -> list[dict[str, Any]]:
    """The rows of a run's `samples.jsonl`."""
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def complete(run: FinishedRun) -> FinishedRun:
    """Return the run. Raises ValueError if training did not reach its last step."""
    steps = run.record["config"]["training"]["steps"]
    evaluated = run.evaluations["step"].tolist()
    # Both ends of the success curve are needed: the base model at step 0 and the final model.
    if evaluated[:1] != [0] or evaluated[-1] != steps:
        span = f"{evaluated[0]} to {evaluated[-1]}" if evaluated else "none"
        raise ValueError(f"{run.origin}: incomplete: evaluated at steps {span}, training.steps is {steps}")
    return run


def check(runs: Sequence[FinishedRun], experiment: Mapping[str, Any]) -> None:
    """Raise ValueError, one line with the runs' names, if the runs must not be compared."""
    names = [(run.ablation, run.seed) for run in runs]
    for run, name in zip(runs, names, strict=True):
        if run.ablation not in experiment["ablations"]:
            unknown = plugins.unknown("ablation", run.ablation, experiment["ablations"])
            raise ValueError(f"{run.origin}: {unknown}")
        if names.count(name) > 1:
            raise ValueError(f"{run.origin}: a second run of ablation {name[0]!r}, seed {name[1]}")
    baseline = experiment["baseline"]
    if baseline not in {ablation for ablation, _ in names}:
        raise ValueError(f"no run of the baseline {baseline!r} among the {len(runs)} runs given")
    # A difference between such runs could come from the code or the device instead of the weighting.
    for key, what in (("trainer", "trainer code"), ("device", "devices")):
        _refuse_mixed(runs, _recorded(key), what)
    bases = experiment["bases"]
    for base in range(bases):
        members = [run for run in runs if run.seed % bases == base]
        for key, what in (("data", "data"), ("base", "base models")):
            _refuse_mixed(members, _recorded(key), what if bases == 1 else f"{what} for base {base}")
    _refuse_mixed(runs, lambda run: _text(run.record["config"]["evaluation"]), "evaluation settings")
    # A change of one scheme's code makes only the runs of that scheme incomparable. So does one of a sampler's code.
    for sampler in sorted({_sampler(run) for run in runs}):
        sampled = [run for run in runs if _sampler(run) == sampler]
        _refuse_mixed(sampled, lambda run: run.record.get("sampler", ""), f"code of sampler {sampler}")
        for scheme in sorted({run.record["config"]["weighting"]["scheme"] for run in sampled}):
            same = [run for run in sampled if run.record["config"]["weighting"]["scheme"] == scheme]
            _refuse_mixed(same, _recorded("code"), f"code of scheme {scheme}")
    for ablation, members in by_ablation(runs):
        # Seeds of one ablation must differ in nothing but the seed, and in the seeds of their base.
        _refuse_mixed(members, lambda run: _text(_settings(run, bases)), f"{ablation} settings")


def _sampler(run: FinishedRun) -> str:
    """`training.sampler`, which a record has only if it is not the default."""
    return run.record["config"]["training"].get("sampler", "native")


def _settings(run: FinishedRun, bases: int) -> dict[str, Any]:
    """The run's settings as those of a run without a seed that starts from base 0."""
    config = run.record["config"]
    task, model = base_seeds.shifted(config["task"], config["model"], -(run.seed % bases))
    return config | {"seed": None, "task": task, "model": model}


def _recorded(key: str) -> Callable[[FinishedRun], str]:
    return lambda run: run.record[key]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _refuse_mixed(runs: Sequence[FinishedRun], value: Callable[[FinishedRun], str], what: str) -> None:
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(value(run), []).append(f"{run.ablation}/seed-{run.seed}")
    if len(groups) > 1:
        listed = "; ".join(", ".join(names) for names in groups.values())
        raise ValueError(f"runs with different {what} cannot be compared; make them again: {listed}")


def by_ablation(runs: Sequence[AnyRun]) -> Iterable[tuple[str, list[AnyRun]]]:
    """(ablation, its runs), in the order of `runs`."""
    groups: dict[str, list[AnyRun]] = {}
    for run in runs:
        groups.setdefault(run.ablation, []).append(run)
    return groups.items()
