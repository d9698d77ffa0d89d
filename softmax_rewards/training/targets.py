"""Targets: what a path on Snakemake's command line stands for.

A path that stands for nothing ends the workflow with one line: SystemExit, because Snakemake would show any other error
with a traceback.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from softmax_rewards.common import plugins
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.run import Run

Value = TypeVar("Value")


class Named(dict[str, Value]):
    """Values by the part of a path that names them. A name without one raises SystemExit with what `explain` says."""

    def __init__(self, values: Mapping[str, Value], explain: Callable[[str, Collection[str]], str]) -> None:
        super().__init__(values)
        self._explain = explain

    def __missing__(self, name: str) -> Value:
        raise SystemExit(self._explain(name, self))


def unnamed_experiment(results: str, folder: Path) -> Callable[[str, Collection[str]], str]:
    """Explains an experiment that `config.yaml` does not name; `folder` has the project's experiment files."""

    def explain(name: str, named: Collection[str]) -> str:
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        begun = f"{results}/{name}: "
        if name in known:
            return (
                f"{begun}config/config.yaml does not name this experiment (it names {', '.join(named)}); "
                f"write: snakemake TARGET --config experiments='[{name}]'"
            )
        nearest = plugins.nearest(name, known)
        return (
            f"{begun}unknown experiment {name!r}{nearest}; allowed: {', '.join(named)}, "
            "or another one with --config experiments='[NAME or the path of a YAML file]'"
        )

    return explain


def unneeded_folder(parent: str) -> Callable[[str, Collection[str]], str]:
    """Explains a folder of `parent` in `data/` that no experiment needs."""

    def explain(name: str, needed: Collection[str]) -> str:
        allowed = ", ".join(needed)
        return f"{parent}/{name}: no experiment of config/config.yaml needs this folder; allowed: {allowed}"

    return explain


def run(experiment: Experiment, ablation: str, seed: str) -> Run:
    """The run of the folder `runs/<ablation>/seed-<seed>`.

    Raises SystemExit, one line, if the experiment has no such ablation or the ablation no such seed.
    """
    if ablation not in experiment.ablations:
        raise SystemExit(f"{experiment.name}: {plugins.unknown('ablation', ablation, experiment.ablations)}")
    seeds = list(map(str, experiment.ablations[ablation].seeds))
    if seed not in seeds:
        raise SystemExit(
            f"{experiment.name}: {ablation}: seed-{seed} is not among its seeds; allowed: {', '.join(seeds)}, "
            "or add it to `seeds` in the experiment's file"
        )
    return experiment.run(ablation, int(seed))
