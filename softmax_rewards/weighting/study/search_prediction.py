"""Predictions from the toy of search: where every scheme of the search experiments comes to rest.

Training moves on from there as h grows. So a prediction speaks of the direction and the order of the schemes, and of
how long they search, rather than of final success.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.weighting.study import search_path
from softmax_rewards.weighting.study.search_toy import Learner, Search

Setting = tuple[str, dict[str, Any], bool]
"""Scheme, hyperparameters, and whether cut answers are left out of the gradient."""
BASE = "base"  # stands for the scheme in the row of the untrained policy
SCHEMES: tuple[Setting, ...] = (
    ("linear", {}, False),
    ("linear", {}, True),
    ("batch_std", {}, False),
    ("dr_grpo", {}, False),
    ("shrunk", {}, False),
    ("softmax", {"tau": 0.5}, False),
    ("softmax", {"tau": 1.0}, False),
    ("softmax_centered", {"tau": 0.5}, False),
    ("maxrl", {}, False),
    ("raft", {}, False),
)
"""The schemes of the search experiments."""
CURVED: tuple[Setting, ...] = (("linear", {}, False), ("dr_grpo", {}, False), ("softmax", {"tau": 0.5}, False))
"""The schemes of the figure that explains the trap."""
EXAMPLE = Search.plain(0.064, 3), 0.8
"""Search and q of an example: 6.4 % of the attempts hit, three fit, and the policy goes on after 80 % of the misses."""
KEYS = ["scheme", "tau", "skip_unfinished"]
REACHED = [*KEYS, "go_on", "attempts", "formatted", "success", "reward"]
CURVE = [*KEYS, "go_on", "slope"]
POINTS = np.round(np.linspace(0.02, 0.98, 33), 2)  # values of q on the curves


def learners(
    group_size: int = 8, format_reward: float = 0.1, schemes: Iterable[Setting] | None = None
) -> list[Learner]:
    """The `schemes` (default: SCHEMES) as learners."""
    settings = SCHEMES if schemes is None else schemes
    return [Learner(scheme, chosen, group_size, format_reward, skip) for scheme, chosen, skip in settings]


def table(search: Search, start: float, chosen: Sequence[Learner]) -> pd.DataFrame:
    """One row per learner, behind one for the policy that goes on with probability `start`. Columns: REACHED.

    go_on is the q at which training comes to rest (`search_path.stop`), the others what it achieves there. `formatted`
    is the share of answers in the right format, `reward` the mean reward, `attempts` the mean number of attempts.
    """
    f = chosen[0].format_reward if chosen else 0.1
    rows = [{"scheme": BASE, "skip_unfinished": False, "go_on": start} | search_path.at(search, start, f)._asdict()]
    for learner in chosen:
        q = search_path.stop(search, learner, start)
        rows.append(_names(learner) | {"go_on": q} | search_path.at(search, q, learner.format_reward)._asdict())
    return pd.DataFrame(rows, columns=REACHED).astype({"tau": float})


def curves(search: Search, chosen: Sequence[Learner]) -> pd.DataFrame:
    """The expected gradient on the logit of q along q, divided by its largest size. Columns: CURVE."""
    rows = []
    for learner in chosen:
        slopes = np.array([search_path.slope(search, learner, q) for q in POINTS])
        largest = np.abs(slopes).max() or 1.0
        names = _names(learner)
        rows += [names | {"go_on": q, "slope": slope / largest} for q, slope in zip(POINTS, slopes, strict=True)]
    return pd.DataFrame(rows, columns=CURVE).astype({"tau": float})


def example(group_size: int = 8) -> pd.DataFrame:
    """`table` of EXAMPLE, for the schemes that do not couple groups."""
    alone = [setting for setting in SCHEMES if not weighting.couples_groups(setting[0])]
    return table(*EXAMPLE, learners(group_size, schemes=alone))


def example_curves(group_size: int = 8) -> pd.DataFrame:
    """`curves` of EXAMPLE, for the schemes of the figure."""
    return curves(EXAMPLE[0], learners(group_size, schemes=CURVED))


def _names(learner: Learner) -> dict[str, Any]:
    tau = learner.hyperparameters.get("tau", np.nan)
    return {"scheme": weighting.scheme_of(learner.scheme), "tau": tau, "skip_unfinished": learner.skip_unfinished}
