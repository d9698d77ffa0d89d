"""What to say about a reward log: a suggestion, and the warnings that limit it."""

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.verdicts.decisions import RARE
from softmax_rewards.weighting.study.answer_lengths import LengthFigures
from softmax_rewards.weighting.study.log_map import Levels
from softmax_rewards.weighting.study.populations import Population

# Share of linear's signal-to-noise. A gain of 5 % saves a tenth of the samples; less is not worth a change.
MATERIAL = 0.05
DEAD = 0.9  # from this share of groups with equal rewards on, nearly all groups are dead
AMPLIFIED = 0.1  # share of linear's squared weight in all-wrong groups that gets a warning
FEW = 20  # with fewer groups that have right and wrong samples, bootstrap limits are too narrow
OVERPAID = 1.5  # a log gives X with some noise, so a warning needs this multiple of what the rewards say
LOSES = -0.1  # from this correlation of length and format on (Cohen's small effect), long answers lose format


def recommended(figures: pd.DataFrame, mixed: int) -> pd.Series | None:
    """The row of the suggested setting, linear's where `suggestion` stays with it; None if nothing is suggested."""
    linear = figures.iloc[0]
    if linear["snr"] <= 0:
        return None
    best = _best_other(figures)
    return best if mixed >= FEW and _clearly_better(best, linear) else linear


def _best_other(figures: pd.DataFrame) -> pd.Series:
    others = _others(figures)
    return others.loc[others["better"].idxmax()]


def _others(figures: pd.DataFrame) -> pd.DataFrame:
    # What a scheme that couples groups does depends on the batch of the training, which is smaller than the log.
    return figures[1:][[not weighting.couples_groups(scheme) for scheme in figures["scheme"][1:]]]


def _clearly_better(best: pd.Series, linear: pd.Series) -> bool:
    return bool(best["low"] > 0 and best["better"] >= MATERIAL * linear["snr"])


def suggestion(figures: pd.DataFrame, mixed: int) -> str:
    """What to use, why, and how certain that is.

    figures  as `table` returns them;  mixed  number of groups with right and wrong samples
    """
    linear = figures.iloc[0]
    if figures["snr"].max() <= 0:
        return (
            "Suggestion: none. No group has both right and wrong samples, so no weighting finds a signal in this log. "
            "Try easier prompts, more samples per prompt, or a warm start."
        )
    if linear["snr"] <= 0:
        return "Suggestion: none. Right samples do not have higher rewards within groups: check reward and correct."
    if mixed < FEW:
        return (
            f"Suggestion: stay with linear. Only {mixed} groups have both right and wrong samples, fewer than {FEW}: "
            "there is no difference that this log can show."
        )
    worth = MATERIAL * linear["snr"]
    others, best = _others(figures), _best_other(figures)
    interval = f"{best['better']:+.3f} [{best['low']:+.3f}, {best['high']:+.3f}]"
    if _clearly_better(best, linear):
        # Precision grows with S/N times the square root of the number of samples.
        saved = 1 - (linear["snr"] / best["snr"]) ** 2
        if linear["all_wrong"] - best["all_wrong"] > MATERIAL:
            why = (
                f"linear spends {linear['all_wrong']:.0%} of its squared weight on groups without a right sample, "
                f"{setting_name(best)} {best['all_wrong']:.0%}"
            )
        else:
            why = "it distributes weight differently within and between the groups that have right samples"
        level = others[(others["snr"] >= (1 - MATERIAL) * best["snr"]) & (others["low"] > 0)].drop(best.name)
        names = ", ".join(setting_name(row) for _, row in level.iterrows())
        also = f" As good, because predicted less than {MATERIAL:.0%} below it: {names}." if names else ""
        return (
            f"Suggestion: try {setting_name(best)}. Predicted signal-to-noise {best['snr']:.3f}, linear "
            f"{linear['snr']:.3f}, difference {interval}: the same precision from {saved:.0%} fewer samples. "
            f"Reason: {why}.{also}"
        )
    if others["high"].max() < worth:
        sure = f"No setting gains {MATERIAL:.0%} or more; this log is large enough to say so."
    elif best["better"] >= worth:
        sure = "That is no difference that this log can show. A log with more groups may show it."
    else:
        sure = f"No setting is predicted to gain {MATERIAL:.0%}, but this log is too small to rule it out."
    other = f"The best other setting is {setting_name(best)}, {interval} on {linear['snr']:.3f}."
    return f"Suggestion: stay with linear. {other} {sure}"


def warnings(groups: Population, reward_range: float, inferred: bool = False) -> list[str]:
    """What limits the advice, one text per warning. `inferred`: what is right was guessed from the rewards."""
    counts, rewards, correct = groups.counts, groups.rewards, groups.correct
    share = counts / counts.sum()
    contrast = rewards.max(axis=-1) > rewards.min(axis=-1)
    alive = int(counts @ contrast)
    lines = []
    if share @ ~contrast >= DEAD:
        lines.append(
            f"{share @ ~contrast:.1%} of the groups are dead (all rewards equal): linear learns from {alive} of "
            f"{int(counts.sum())} groups. Easier prompts or more samples per prompt help more than any scheme."
        )
    # Groups without a right sample whose rewards differ by less than half the range: format, not success.
    small = contrast & ~correct.any(axis=-1) & (np.ptp(rewards, axis=-1) < reward_range / 2)
    square = np.mean(weighting.compute("linear", rewards, correct) ** 2, axis=-1) * counts
    if square.sum() and square @ small >= AMPLIFIED * square.sum():
        lines.append(
            f"Format amplification: {int(counts @ small)} all-wrong groups differ only by a small reward. linear "
            f"divides by a group's spread, so {square @ small / square.sum():.0%} of its squared weight lies there."
        )
    values = np.unique(rewards)
    if len(values) > 2:
        lines.append(
            f"{len(values)} reward values: tau also changes the weights within a group. The predicted signal only "
            "counts right against wrong and ignores what else the reward asks for."
        )
    success = float(share @ correct.mean(axis=-1))
    # From this success on, the predicted order of schemes also differs from the exact order in the bandit.
    if success > RARE:
        lines.append(
            f"Success is {success:.0%}: right answers are not rare here, but this project studied rare ones. In its "
            "bandit, the predicted order of schemes is wrong from such a success on."
        )
        if inferred:
            lines.append(
                "What is right was inferred from the middle of the rewards. In a log without a right answer, a format "
                "reward then counts as right, and one extreme reward moves the middle. Name a column with --correct."
            )
    return lines


def costly(lengths: LengthFigures | None) -> bool | None:
    """Whether long answers lose the format; None for a log without lengths."""
    return None if lengths is None else bool(lengths.correlation <= LOSES)


def collapse(figures: pd.DataFrame, kinds: Levels | None, lengths: LengthFigures | None) -> list[str]:
    """The warning that answers will get short, at most one. `lengths` is None for a log without lengths.

    figures  as `advise.table` returns them, linear first
    The scheme of the log is unknown. So linear decides, and every other scheme above the rewards is named.
    """
    if kinds is None or not figures["x"].iloc[0] > OVERPAID * kinds.paid:
        return []
    if costly(lengths) is False:
        return []
    above = figures[1:][figures["x"][1:] > OVERPAID * kinds.paid]
    names = ", ".join(dict.fromkeys(above["scheme"]))
    also = f" Others do so too, some of them only at some tau: {names}." if names else ""
    said = (
        f"linear gives up {figures['x'].iloc[0]:.2f} right answers for one more well-formed answer, and the rewards "
        f"say {kinds.paid:.2f}."
    )
    if lengths is None:
        return [
            f"Format is overpaid: {said}{also} This log has no lengths. Check whether long answers lose the format, "
            "for example because a limit cuts them. If they do, answers will get short and the search will stop."
        ]
    return [
        f"Length is likely to collapse: {said}{also} Long answers lose the format in this log (correlation of length "
        f"and format among wrong answers {lengths.correlation:.2f}), so shorter answers are the way to more format."
    ]


def setting_name(row: pd.Series) -> str:
    """A row of the table as text: "softmax at tau 0.55"."""
    return row["scheme"] + (f" at tau {row['tau']:.4g}" if row["tau"] == row["tau"] else "")
