"""The predictions P4–P6 and P8: the map of schemes, computed before training, against what training did.

`weighting/study/scheme_map.py` gives each ablation three figures from the base model's success and share of well-formed
answers alone. A prediction says that one figure puts the ablations into the order of an endpoint. It is scored by
Spearman's rank correlation over the ablations of one seed; the unit is the seed.
"""

import math
from dataclasses import replace

import pandas as pd

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, Endpoint, Evidence, Untested
from softmax_rewards.verdicts.judgment import Claim
from softmax_rewards.verdicts.rules import Finding, Rule, describe
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED, Words

FEWEST = 4  # ablations; with three, a rank correlation has four values
DIGITS = 9  # decimals in which predicted figures differ; further ones are rounding errors of the processor
CRITICAL = 0.5  # share of the baseline's ρ below which a softmax is predicted to break
RANK = Endpoint("rank correlation", "rank correlation")


def rank(figure: str, endpoint: str, sign: int = 1) -> Rule:
    """The `figure` of the map ("rho", "tilt" or "x") orders `endpoint`; sign −1: the larger, the smaller."""

    def rule(evidence: Evidence) -> Finding:
        names = [name for name in _placed(evidence) if not math.isnan(getattr(evidence.map[name], figure))]
        if endpoint not in evidence.measures or len(names) < FEWEST:
            raise Untested(f"{FEWEST} ablations with a place on the map")
        values = evidence.measures[endpoint].unstack("ablation").reindex(columns=names).dropna()
        if len(names) < FEWEST or len(values) < 2:
            raise Untested(f"{FEWEST} ablations with a place on the map, and two seeds that all have")
        # Softmax and centered softmax have the same X in theory. Without rounding, the last digit would order them.
        predicted = pd.Series({name: round(sign * getattr(evidence.map[name], figure), DIGITS) for name in names})
        values = values[values.nunique(axis=1) > 1]  # equal values have no order
        if len(values) < 2:
            raise Untested(f"two seeds in which the ablations differ in {ENDPOINTS[endpoint].text}")
        if predicted.nunique() < FEWEST:
            raise Untested(f"ablations with {FEWEST} different values of {figure} on the map")
        per_seed = [predicted.corr(row, method="spearman") for _, row in values.iterrows()]
        interval = mean_interval(per_seed)
        order = ", ".join(predicted.sort_values(ascending=False).index)
        right, resolved = _concordance(evidence, predicted, values, endpoint)
        sentence = (
            f"rank correlation of {figure} with {ENDPOINTS[endpoint].text} over {len(names)} ablations: "
            f"{describe(RANK, interval)}; predicted order: {order}; of {resolved} pairs that differ clearly and are "
            f"predicted to differ, {right} have the predicted order"
        )
        verdict = UNRESOLVED
        if interval.low > 0 or interval.high < 0:
            verdict = SUPPORTED if interval.low > 0 else CONTRADICTED
        return Finding(verdict, interval, sentence, RANK)

    return rule


def _placed(evidence: Evidence) -> list[str]:
    """The ablations on the map that have runs."""
    trained = set(evidence.measures.index.unique("ablation"))
    return [name for name in evidence.map if name in trained]


def _concordance(evidence: Evidence, predicted: pd.Series, values: pd.DataFrame, endpoint: str) -> tuple[int, int]:
    """(pairs in the predicted order, pairs), of those whose difference has an interval on one side of 0."""
    right = resolved = 0
    seeds = evidence.measures.index.get_level_values("seed").isin(values.index)
    known, names = replace(evidence, measures=evidence.measures[seeds]), list(predicted.index)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            interval = paired.between(known, first, second, endpoint)
            expected = predicted[first] - predicted[second]
            if (interval.low > 0 or interval.high < 0) and expected:
                resolved += 1
                right += expected * interval.estimate > 0
    return right, resolved


def critical_temperature(scheme: str) -> Rule:
    """`scheme` ends below its base model from the τ on whose rho is below CRITICAL of the baseline's, and not before.

    A step of Adam has a fixed length, so the gain of an update is taken as a·lr·ρ − b·lr². It is 0 where ρ is
    `CRITICAL` of the baseline's at the rate that is best for the baseline, because a·lr·ρ = 2·b·lr² there. Supported if
    the predicted τ is clearly worse than the base model and no lower τ is; contradicted if it is clearly better, or if
    a lower τ is clearly worse. The effect is that of the predicted τ, or of the highest one if none is predicted.
    """

    def rule(evidence: Evidence) -> Finding:
        taus = {}
        for name in _placed(evidence):
            weighting = evidence.configs[name]["weighting"]
            if weighting["scheme"] == scheme and isinstance(weighting["tau"], float):
                taus[weighting["tau"]] = name
        if len(taus) < FEWEST:
            raise Untested(f"{scheme} at {FEWEST} or more constant τ")
        least = CRITICAL * evidence.map[evidence.baseline].rho
        breaking = [tau for tau in sorted(taus) if evidence.map[taus[tau]].rho < least]
        gains = {tau: paired.gain(evidence, name, "final") for tau, name in taus.items()}
        first = breaking[0] if breaking else math.inf
        early = [tau for tau in sorted(taus) if tau < first and gains[tau].high < 0]
        at = gains[min(first, max(taus))]
        # If none is predicted to break, the highest τ must be clearly better than the base model.
        held, refuted = (at.high < 0, at.low > 0) if breaking else (at.low > 0, at.high < 0)
        verdict = CONTRADICTED if early or refuted else SUPPORTED if held else UNRESOLVED
        predicted = f"τ = {first:g} on" if breaking else f"no τ up to {max(taus):g}"
        before = f"; already below it: τ = {', '.join(f'{tau:g}' for tau in early)}" if early else ""
        endpoint = ENDPOINTS["final"]
        words = f"{scheme} is predicted to end below its base model from {predicted}; there {describe(endpoint, at)}"
        return Finding(verdict, at, f"{words}{before}", endpoint)

    return rule


MAP_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "P4",
        "The exchange rate X orders the length of answers at the end: the larger X, the shorter",
        rank("x", "length_final", -1),
        Words(
            "Whether the exchange rate predicts which schemes write short answers",
            "Schemes that pay more for the format ended with shorter answers, as predicted before training",
            "Schemes that pay more for the format ended with longer answers, against the prediction",
        ),
    ),
    Claim(
        "P5",
        "The predicted signal-to-noise orders early success: mean success until the baseline has half of its gain",
        rank("rho", "auc_early"),
        Words(
            "Whether the predicted signal-to-noise tells which schemes learn faster at first",
            "Schemes with a higher predicted signal-to-noise learned faster at first",
            "Schemes with a higher predicted signal-to-noise learned more slowly at first",
        ),
    ),
    Claim(
        "P6",
        "The tilt orders pass@16 at the end",
        rank("tilt", "pass@16"),
        Words(
            "Whether the weight on hard prompts predicts how many puzzles 16 answers solve",
            "Schemes that weight hard prompts more solved more puzzles in 16 answers",
            "Schemes that weight hard prompts more solved fewer puzzles in 16 answers",
        ),
    ),
    Claim(
        "P8",
        "Softmax breaks from the τ on at which its predicted signal-to-noise falls below half of GRPO's",
        critical_temperature("softmax"),
        Words(
            "Softmax at the τ from which on it is predicted to make the model worse, against its base model",
            "Softmax made the model worse from the predicted τ on, and not at lower τ",
            "Softmax did not make the model worse at the predicted τ, or did so at a lower τ",
        ),
    ),
)
