"""The law of gains: planted numbers come back, and cells that break it show."""

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.verdicts import gain_law
from softmax_rewards.verdicts.evidence import LINEAR, Evidence
from softmax_rewards.weighting.study.log_map import Figures

SCHEMES = {"baseline": LINEAR, "dr": {"scheme": "dr_grpo"}, "raft": {"scheme": "raft"}, "half": {"scheme": "best_of_n"}}
RHO = dict(zip(SCHEMES, (0.1, 0.3, 0.4, 0.6), strict=True))
RATES = (1e-4, 2e-4, 4e-4, 8e-4)
A, B = 1500.0, 6e5


def evidence(gain, rates=RATES, schemes=tuple(SCHEMES)):
    """Every scheme at every rate gains `gain(rho, rate)`, a little more or less with each of three seeds."""
    rows, configs = {}, {}
    for name in schemes:
        for rate in rates:
            ablation = name if rate == rates[0] else f"{name}-{rate}"
            configs[ablation] = {"weighting": SCHEMES[name], "training": {"steps": 10, "learning_rate": rate}}
            rows |= {
                (ablation, seed): {"auc": 0.1 + gain(RHO[name], rate) + 1e-4 * (seed - 1), "base": 0.1}
                for seed in range(3)
            }
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])
    return Evidence(measures, configs, "baseline", map={name: Figures(RHO[name], 1.0, 0.1) for name in schemes})


def law(rho, rate):
    return A * rate * rho - B * rate**2


def test_planted_numbers_predict_every_cell_of_the_other_half():
    cells = gain_law.table(evidence(law))
    assert len(cells) == 16 and list(cells) == gain_law.COLUMNS
    np.testing.assert_allclose(
        cells["gain"], [law(*cell) for cell in zip(cells["rho"], cells["learning_rate"], strict=True)]
    )
    np.testing.assert_allclose(cells["predicted"], cells["gain"], atol=1e-12)
    (score,) = gain_law.scored(cells).itertuples()
    assert (score.a, score.b) == pytest.approx((A, B))
    assert score.explained == pytest.approx(1) and score.rank > 0.99  # equal gains differ by rounding
    assert score.below == score.foreseen == score.warned == (cells["gain"] < 0).sum() > 0


def test_gains_without_any_law_are_not_explained():
    schemes, rates = list(RHO.values()), list(RATES)
    cells = gain_law.table(evidence(lambda rho, rate: 0.1 * ((schemes.index(rho) + rates.index(rate)) % 2)))
    assert gain_law.scored(cells)["explained"].item() < 0


def test_a_cell_is_not_predicted_by_a_fit_that_saw_it():
    cells = gain_law.table(evidence(law))
    broken = gain_law.table(evidence(lambda rho, rate: law(rho, rate) + (rho == 0.1 and rate == RATES[0])))
    changed = ~np.isclose(cells["predicted"], broken["predicted"])
    assert changed.sum() == 8 and not changed[0]  # the first cell moves the other half only


@pytest.mark.parametrize(("rates", "schemes"), [(RATES[:2], tuple(SCHEMES)), (RATES, ("baseline", "dr"))])
def test_too_few_cells_have_no_law(rates, schemes):
    cells = gain_law.table(evidence(law, rates, schemes))
    assert cells.empty and list(cells) == gain_law.COLUMNS and gain_law.scored(cells).empty
