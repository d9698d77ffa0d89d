"""The evidence of archived experiments, and the numbers behind the decision table."""

import functools
from collections.abc import Callable
from pathlib import Path

from softmax_rewards.config import experiments
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.verdicts import archive, measures, paired
from softmax_rewards.verdicts.decisions import CASES, Compared, Numbers
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import FinishedRun

DIGITS = 6  # far more than a table shows, so that its last digit is rounded once


def numbers(configs: Path, evidence: Callable[[str], Evidence] | None = None) -> dict[Compared, Numbers]:
    """Every comparison that a case names, with its numbers.

    configs   the folder of the experiment files
    evidence  as from `of`, for a caller that reads the same archives
    """
    evidence = evidence or of(configs)
    named = dict.fromkeys(compared for case in CASES for compared in case.evidence)
    known = {name: experiments.load(configs / f"{name}.yaml") for name in {compared.experiment for compared in named}}
    found = {}
    for compared in named:
        interval = paired.between(evidence(compared.experiment), compared.ablation, compared.against, compared.endpoint)
        difference, low, high = (round(value, DIGITS) for value in (interval.estimate, interval.low, interval.high))
        unit = "base models" if known[compared.experiment].bases > 1 else "seeds"
        found[compared] = Numbers(difference, low, high, interval.n, unit)
    return found


def read(experiment: Experiment, folder: str) -> tuple[list[FinishedRun], Evidence]:
    """The runs of an experiment in the archive `folder`, made by any code, and their evidence."""
    runs = archive.read(Path(folder), archive.names(folder, experiment.runs(), None))
    configs = {run.ablation: run.record["config"] for run in runs}
    return runs, Evidence(measures.measure(runs), configs, experiment.baseline)


def of(configs: Path) -> Callable[[str], Evidence]:
    """A function: name of an experiment in the folder `configs` → its evidence, which is read once."""
    return functools.cache(lambda name: _evidence(experiments.load(configs / f"{name}.yaml")))


def _evidence(experiment: Experiment) -> Evidence:
    return read(experiment, experiment.archive or f"{experiments.ARCHIVES}/{experiment.name}")[1]
