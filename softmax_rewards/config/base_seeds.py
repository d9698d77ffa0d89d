"""Base seeds: the several base models of one experiment, and the puzzles that each has for itself.

Seed s of an ablation starts from base k = s mod `bases`. Base k adds k to three seeds: `task.seed` (other puzzles, also
the held-out ones), `model.seed` (other initial weights) and `model.warm_start.seed` (other traces). Base 0 is the base
model that an experiment with one base has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from softmax_rewards.common.option_errors import Unfit


def shifted(task: dict[str, Any], model: dict[str, Any], base: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved `task` and `model` of a base; with a negative number, those of base 0 from those of a base."""
    if base == 0:  # also settings without seeds
        return task, model
    start = model["warm_start"]
    start = start | {"seed": start["seed"] + base}
    return task | {"seed": task["seed"] + base}, model | {"seed": model["seed"] + base, "warm_start": start}


def check(bases: int, task: Mapping[str, Any], model: Mapping[str, Any], seeds: Mapping[str, Sequence[int]]) -> None:
    """Raise Unfit if an experiment cannot have so many bases. `seeds`: ablation → its seeds."""
    if bases == 1:
        return
    if "seed" not in model:
        raise Unfit(
            "bases", bases, f"1 beside model.source {model['source']}, which has no seed: its weights are fixed"
        )
    if "seed" not in task:
        raise Unfit("bases", bases, f"1 beside task.name {task['name']}, which has no seed: its puzzles are fixed")
    for ablation, numbers in seeds.items():
        reached = len({seed % bases for seed in numbers})
        if reached < bases:
            listed = ", ".join(map(str, numbers))
            allowed = "a number of bases that the seeds of every ablation reach (base = seed mod bases); the seeds "
            raise Unfit("bases", bases, f"{allowed}{listed} of {ablation} reach {reached}")
