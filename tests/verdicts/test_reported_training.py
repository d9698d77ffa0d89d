"""The reported training figures and what can be said of them."""

import pytest

from softmax_rewards.verdicts import reported_training


def test_intervals_and_z_scores():
    table = reported_training.table()
    figures = table[table["kind"] == "figure"]
    assert ((figures["low"] <= figures["success"]) & (figures["success"] <= figures["high"])).all()
    linear = figures[figures["ablation"] == "linear"]
    assert (linear["success"] * 100).round().tolist() == [12, 11, 12, 14, 14, 17, 17]
    assert table.loc[table["kind"] == "difference", "z"].round(1).tolist() == [1.8, 3.9]


@pytest.mark.parametrize(
    ("gain", "ablation", "percent", "base"),
    [
        (73, "softmax τ=0.5", 19, 11),
        (124, "softmax τ=0.5", 38, 17),
        (59, "softmax τ=0.25", 27, 17),
        (94, "softmax τ 0.75→0.25", 33, 17),
    ],
)
def test_every_reported_gain_has_the_pair_that_gives_it(gain, ablation, percent, base):
    table = reported_training.table()
    rows = table[(table["kind"] == "gain") & (table["gain_reported"] == gain)]
    found = {(row.ablation, round(100 * row.success), round(100 * row.against_success)) for row in rows.itertuples()}
    assert (ablation, percent, base) in found
    assert (rows["gain"].round() == gain).all()
    same_step = rows["note"] == "reproduced, both at the same step"
    assert same_step.any() == (gain == 73)  # the only one that compares equal steps
