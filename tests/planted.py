"""Made-up evidence with planted effects, for tests of the rules that judge claims."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from softmax_rewards.verdicts import judgment
from softmax_rewards.verdicts.evidence import ENDPOINTS, LINEAR, Evidence
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.verdicts.plan import CLAIMS

TRAINING = {"steps": 120, "learning_rate": 4e-4}
BASE_SUCCESS = 0.09
SOFTMAX = {"scheme": "softmax", "tau": 0.5}


def evidence(gains, *, weightings=None, spread=0.003, seeds=5, p_holm=None, training=None, **changes) -> Evidence:
    """Evidence with the final success planted as base + gain, the AUC halfway.

    `changes` plant other endpoints as {ablation: value}. Every value has noise with standard deviation `spread`; the
    base model's success is known.
    """
    weightings = {"baseline": LINEAR, "half": SOFTMAX} | (weightings or {})
    rng = np.random.default_rng(0)
    rows = {}
    for name, gain in gains.items():
        for seed in range(seeds):
            row = dict.fromkeys(ENDPOINTS, 1.0)
            row |= {"base": BASE_SUCCESS, "auc": BASE_SUCCESS + gain / 2, "final": BASE_SUCCESS + gain}
            row |= {endpoint: values[name] for endpoint, values in changes.items() if name in values}
            rows[name, seed] = {key: value + (key != "base") * rng.normal(0, spread) for key, value in row.items()}
    bases = {"base_format": 0.99, "base_pass@16": 0.5, "base_reward": 0.2, "base_length": 1.0}
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"]).assign(**bases)
    own = training or {}
    configs = {name: {"weighting": weightings[name], "training": TRAINING | own.get(name, {})} for name in gains}
    return Evidence(measures, configs, "baseline", p_holm=p_holm or {})


def counted(right: Mapping[str, list[int]], answers: int, base: tuple[int, int], **known) -> Evidence:
    """Evidence from counts: ablation → right answers of `answers` at the end, one count per seed.

    The AUC is the same as success at the end. `base` is right answers and answers of the base model.
    """
    rows = {}
    for name, counts in right.items():
        for seed, count in enumerate(counts):
            share = count / answers
            smoothed = (count + 1) / (answers + 2)
            noise = (smoothed * (1 - smoothed) / answers) ** 0.5
            rows[name, seed] = dict.fromkeys(ENDPOINTS, math.nan) | {
                key + suffix: value
                for key in ("auc", "final")
                for suffix, value in {"": share, "_noise": noise, "_right": count, "_answers": answers}.items()
            }
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])
    success = base[0] / base[1]
    error = (success * (1 - success) / base[1]) ** 0.5
    measures = measures.assign(base=success, base_error=error, base_right=base[0], base_answers=base[1])
    measures = measures.assign(**{"base_format": 0.99, "base_pass@16": math.nan, "base_length": math.nan})
    weightings = {"baseline": LINEAR, "half": SOFTMAX}
    configs = {
        name: {"weighting": weightings.get(name, {"scheme": name}), "training": dict(TRAINING)} for name in right
    }
    return Evidence(measures, configs, "baseline", **known)


def finished_run(ablation, seed, success, *, steps=(0, 10, 20), weighting=LINEAR, training=None, base=None, **more):
    """A finished run with this success at `steps`, of 1024 answers each, as its files would have it.

    `more` are further columns of its evaluations, and its entry `evaluation` the further entries of evaluation.json.
    """
    evaluation = {"pass@16": 0.5, "pass@1": success[-1], "success": success[-1]} | more.pop("evaluation", {})
    curve = pd.DataFrame({"step": steps, "tokens": [1000 * step for step in steps], "success": success})
    curve = curve.assign(**{"puzzles": 1024, "format": 0.9, "length": 40.0, "attempts": 2.0, "gave_up": 0.3} | more)
    metrics = pd.DataFrame({"step": range(1, steps[-1] + 1)}).assign(entropy=0.9, length=40.0, grad_norm=1.9)
    groups = pd.DataFrame({"step": [1, 1], "rewards": ["1.1 0.1", "0.1 0.1"], "right": [1, 0], "count": [1, 1]})
    settings = TRAINING | {"max_new_tokens": 96, "steps": steps[-1]} | (training or {})
    config = {"weighting": weighting, "training": settings}
    record = {"ablation": ablation, "seed": seed, "base": "the base", "config": config}
    return FinishedRun("here", record, metrics, groups, curve, evaluation, pd.DataFrame(), [], base)


def judged(known: Evidence, *claims: str) -> pd.DataFrame:
    """The verdicts on this evidence, by claim: the gate, and these claims or all."""
    chosen = [claim for claim in CLAIMS if not claims or claim.id in claims]
    return judgment.judge(chosen, known, "e", "mini", "countdown").set_index("claim")


def verdict(known: Evidence, claim: str) -> pd.Series:
    """The row of one claim."""
    return judged(known, claim).loc[claim]
