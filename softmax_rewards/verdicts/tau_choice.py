"""What each rule for choosing τ before training would have cost. Is half the reward range the best rule?

The rules are in `weighting/study/tau_choice.py`. The cost of a rule is the success at the best τ of the grid minus the
success at the τ that the rule chose.
"""

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.weighting.study.populations import Population
from softmax_rewards.weighting.study.tau_choice import RULES

COLUMNS = ["scheme", "rule", "tau", "ratio", "best", "regret", "low", "high", "seeds"]


def table(evidence: Evidence, sweep: pd.DataFrame, groups: Population, reward_range: float) -> pd.DataFrame:
    """One row per rule and scheme with a grid of τ: the chosen τ, and what it cost in mean success over training.

    sweep      the table of `summary.temperatures`
    groups     groups of the base model
    regret     success at the best τ tried minus success at the chosen τ, paired by seed; NaN if the rule chooses none
    low, high  limits of the gain of the best τ, whichever τ that is; at least 0
    """
    rows = []
    for scheme, grid in sweep[sweep["endpoint"] == "auc"].groupby("scheme"):
        success = evidence.measures["auc"].unstack("ablation")[grid["ablation"]].dropna()
        success.columns = grid["tau"].to_numpy()
        if len(success.columns) < 2 or success.empty:
            continue
        best, level = float(success.mean().idxmax()), stats.strictest_confidence(len(success.columns) - 1)
        for name, rule in RULES.items():
            tau = rule(scheme, success.columns, groups, reward_range)
            if tau is None:
                rows.append((scheme, name, np.nan, np.nan, best, np.nan, np.nan, np.nan, len(success)))
                continue
            # The best τ is not known. The largest limits over all other τ, each with Bonferroni's confidence, cover it.
            gains = [mean_interval(success[other] - success[tau], level) for other in success if other != tau]
            low, high = (max(0.0, max(getattr(gain, limit) for gain in gains)) for limit in ("low", "high"))
            regret = success[best].mean() - success[tau].mean()
            rows.append((scheme, name, float(tau), tau / reward_range, best, regret, low, high, len(success)))
    return pd.DataFrame(rows, columns=COLUMNS)
