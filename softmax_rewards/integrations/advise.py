"""What should I use? Advice on a weighting scheme from a reward log of any trainer.

Every scheme of `weighting` is applied to the logged groups. Schemes with a temperature are tried at fixed shares of the
reward range. The result is a prediction for one batch by the model of `signal_noise`, not a training result. Groups of
different sizes are analyzed separately, because effective N and signal-to-noise have another meaning at another N.
docs/what-should-i-use.md explains the output.
"""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.common.stats import CONFIDENCE
from softmax_rewards.common.terminal import plain
from softmax_rewards.integrations import reward_log
from softmax_rewards.integrations.reward_log import RewardLog
from softmax_rewards.weighting.study import analysis, signal_noise
from softmax_rewards.weighting.study.populations import Population, summarize, weigh

SHARES = (0.1, 0.25, 0.5, 1.0, 2.0)  # tau/range
DRAWS = 1000  # bootstrap samples of the groups
# Share of linear's signal-to-noise. A gain of 5 % saves a tenth of the samples; less is not worth a change.
MATERIAL = 0.05
COMMON = 0.05  # a group size gets a table if at least this share of the groups has it
# From this success on, the predicted order of schemes differs from the exact order in the bandit.
OFTEN = 0.2
DEAD = 0.9  # from this share of groups with equal rewards on, nearly all groups are dead
AMPLIFIED = 0.1  # share of linear's squared weight in all-wrong groups that gets a warning
FEW = 20  # with fewer groups that have right and wrong samples, bootstrap limits are too narrow
WIDTH = 110  # characters per line
OWN_RESULT = (
    "A prediction for one batch is no training result. This project trained its own tiny model with these schemes "
    "(README.md, 'What was found so far'). There softmax was never better than linear, and from tau 0.25 on it got "
    "worse with higher tau. softmax_centered was as good as linear from tau 0.5 on. docs/report/ has the other "
    "schemes. Try a change on several seeds before you believe it."
)


def table(groups: Population, reward_range: float, seed: int = 0) -> pd.DataFrame:
    """One row per scheme and tau, `linear` first.

    scheme, tau, tau_over_range   the latter two are NaN without a temperature
    effective_n, zero_groups, weight_right, weight_wrong   as in `populations.summarize`
    all_wrong                     share of the squared weight in groups without a right sample
    snr                           predicted signal-to-noise, per square root of the number of samples
    better, low, high             snr minus that of linear, and its simultaneous limits (`limits`)
    """
    size = groups.rewards.shape[1]
    chosen = analysis.settings(size, taus=[share * reward_range for share in SHARES])
    # `limits` compares every setting with the first one.
    chosen.sort(key=lambda setting: setting[0] != "linear")
    rows, moments = [], []
    for scheme, hyperparameters in chosen:
        figures = summarize(groups, scheme, hyperparameters, seed)
        w = weigh(groups, scheme, hyperparameters)
        signal, square = signal_noise.moments(w, groups)
        moments.append((signal, square))
        hopeless = ~groups.correct.any(axis=-1)
        total = square @ groups.counts
        tau = hyperparameters.get("tau", np.nan)
        rows.append(
            {"scheme": scheme, "tau": tau, "tau_over_range": tau / reward_range}
            | {name: figures[name] for name in ("effective_n", "zero_groups", "weight_right", "weight_wrong")}
            | {"all_wrong": float(square @ (groups.counts * hopeless) / total) if total else 0.0}
        )
    signal, square = (np.array(part) for part in zip(*moments, strict=True))
    return pd.DataFrame(rows).join(limits(signal, square, groups.counts, seed))


def limits(signal: np.ndarray, square: np.ndarray, counts: np.ndarray, seed: int, draws: int = DRAWS) -> pd.DataFrame:
    """snr, better, low and high of S settings. `better` is the difference to the first setting.

    signal, square  [S, G], of each setting and distinct group
    counts          [G], how often each group occurs
    The limits come from a bootstrap over groups and hold for all settings at once: better ± q·s, where s is the
    bootstrap's standard deviation and q the 95 % quantile of the largest |deviation|/s (Romano and Wolf 2005,
    Econometrica 73:1237). So the best setting may be picked afterwards.
    """
    rng = np.random.default_rng(seed)
    total = counts.sum()

    def ratios(drawn: np.ndarray) -> np.ndarray:
        noise = np.sqrt(square @ drawn / total)
        # Rounding makes a missing signal exactly 0 and proportional schemes exactly equal on every machine.
        return np.round(np.divide(signal @ drawn / total, noise, out=np.zeros(len(noise)), where=noise > 0), 12)

    snr = ratios(counts)
    sampled = np.array([ratios(rng.multinomial(total, counts / total)) for _ in range(draws)])
    better, spread = snr - snr[0], sampled - sampled[:, :1]
    deviation = spread.std(axis=0)
    varies = deviation > 1e-9  # a scheme proportional to linear has no difference, and would divide by 0
    quantile = 0.0
    if varies.any():
        quantile = np.quantile(np.max(np.abs(spread - better)[:, varies] / deviation[varies], axis=1), CONFIDENCE)
    half = np.where(varies, quantile * deviation, 0.0)
    return pd.DataFrame({"snr": snr, "better": better, "low": better - half, "high": better + half})


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
    # What a scheme that couples groups does depends on the batch of the training, which is smaller than the log.
    others = figures[1:][[not weighting.couples_groups(scheme) for scheme in figures["scheme"][1:]]]
    best = others.loc[others["better"].idxmax()]
    interval = f"{best['better']:+.3f} [{best['low']:+.3f}, {best['high']:+.3f}]"
    if best["low"] > 0 and best["better"] >= worth:
        # Precision grows with S/N times the square root of the number of samples.
        saved = 1 - (linear["snr"] / best["snr"]) ** 2
        if linear["all_wrong"] - best["all_wrong"] > MATERIAL:
            why = (
                f"linear spends {linear['all_wrong']:.0%} of its squared weight on groups without a right sample, "
                f"{_name(best)} {best['all_wrong']:.0%}"
            )
        else:
            why = "it distributes weight differently within and between the groups that have right samples"
        level = others[(others["snr"] >= (1 - MATERIAL) * best["snr"]) & (others["low"] > 0)].drop(best.name)
        names = ", ".join(_name(row) for _, row in level.iterrows())
        also = f" As good, because predicted less than {MATERIAL:.0%} below it: {names}." if names else ""
        return (
            f"Suggestion: try {_name(best)}. Predicted signal-to-noise {best['snr']:.3f}, linear {linear['snr']:.3f}, "
            f"difference {interval}: the same precision from {saved:.0%} fewer samples. Reason: {why}.{also}"
        )
    if others["high"].max() < worth:
        sure = f"No setting gains {MATERIAL:.0%} or more; this log is large enough to say so."
    elif best["better"] >= worth:
        sure = "That is no difference that this log can show. A log with more groups may show it."
    else:
        sure = f"No setting is predicted to gain {MATERIAL:.0%}, but this log is too small to rule it out."
    other = f"The best other setting is {_name(best)}, {interval} on {linear['snr']:.3f}."
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
    if success > OFTEN:
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


def report(log: RewardLog, seed: int = 0) -> str:
    """The advice on a log as text. Equal logs and seeds give equal text."""
    number = sum(int(groups.counts.sum()) for groups in log.by_size.values())
    lines = [f"{log.layout} log: {number} groups. Reward: {log.reward}. Right: {log.right}."]
    for count, what in (
        (log.single, "Groups of one sample, left out because there is nothing to compare"),
        (log.unscored, "Samples without a reward, left out"),
        (log.repeated, "Groups written again at a later step, counted once"),
    ):
        lines += [f"{what}: {count}."] if count else []
    if not number:
        return "\n".join([*lines, "Suggestion: none. No group has two samples or more, so nothing can be compared."])
    values = [groups.rewards for groups in log.by_size.values()]
    low, high = (pick(map(pick, [part.ravel() for part in values])) for pick in (min, max))
    if low == high:
        return "\n".join([*lines, "Suggestion: none. All rewards are equal, so there is nothing to compare."])
    lines.append(f"Rewards from {low:.6g} to {high:.6g}; tau/range is tau as a share of that range.")
    rare = 0
    for size, groups in log.by_size.items():
        if groups.counts.sum() < COMMON * number:
            rare += int(groups.counts.sum())
            continue
        lines += ["", *_section(size, groups, high - low, log.inferred, seed)]
    if rare == number:
        lines += ["", f"Suggestion: none. {len(log.by_size)} group sizes, none of them {COMMON:.0%} of the groups."]
    elif rare:
        lines += ["", f"Groups of rare sizes, each below {COMMON:.0%} of all, left out: {rare}."]
    return "\n".join([*lines, "", textwrap.fill(OWN_RESULT, WIDTH)])


def _section(size: int, groups: Population, reward_range: float, inferred: bool, seed: int) -> list[str]:
    share = groups.counts / groups.counts.sum()
    right = groups.correct.sum(axis=-1)
    mixed = int(groups.counts @ ((right > 0) & (right < size)))
    dead = share @ (groups.rewards.max(axis=-1) == groups.rewards.min(axis=-1))
    figures = table(groups, reward_range, seed)
    lines = [
        f"{int(groups.counts.sum())} groups of N = {size}: success {share @ right / size:.1%}, "
        f"no sample right in {share @ (right == 0):.1%}, all rewards equal in {dead:.1%}.",
        "",
        f"{'scheme':<17}{'tau/range':>9}{'tau':>9}{'eff. N':>8}{'zero':>7}{'w right':>9}{'w wrong':>9}{'all-wrong':>10}"
        f"{'S/N':>8}  against linear [95 %]",
    ]
    for row in figures.itertuples():
        # NaN, which is not equal to itself, means that the scheme has no temperature.
        tau = f"{row.tau_over_range:>9.2f}{row.tau:>9.4g}" if row.tau == row.tau else " " * 18
        against = "" if row.Index == 0 else f"  {row.better:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        lines.append(
            f"{row.scheme:<17}{tau}{row.effective_n:>8.2f}{row.zero_groups:>7.0%}{row.weight_right:>9.3g}"
            f"{row.weight_wrong:>9.3g}{row.all_wrong:>10.0%}{row.snr:>8.3f}{against}"
        )
    advice = [
        *(f"Warning: {warning}" for warning in warnings(groups, reward_range, inferred)),
        suggestion(figures, mixed),
    ]
    return [*lines, "", *(textwrap.fill(text, WIDTH) for text in advice)]


def _name(row: pd.Series) -> str:
    return row["scheme"] + (f" at tau {row['tau']:.4g}" if row["tau"] == row["tau"] else "")


EPILOG = """\
examples, for a table of your own and for the folder that TRL writes with log_completions:
  softmax-rewards advise rewards.csv --correct correct
  softmax-rewards advise outputs/completions --reward accuracy,format=0.1

The first line of rewards.csv is `group,reward,correct`. A row such as `0,1.1,1` is one sample.

The output has one row per scheme and temperature. Read two columns first: `S/N`, the predicted signal-to-noise of a
batch (twice the S/N is the same precision from a quarter of the samples), and `against linear`, its difference to GRPO
with 95 % limits. A scheme is suggested only if the lower limit is above 0 and the gain is at least 5 %. It is a
prediction for one batch, not a training result. docs/what-should-i-use.md explains every column.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. A wrong log ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="softmax-rewards advise",
        description="Predict which weighting scheme suits the rewards in your training log, and how certain that is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "log",
        type=Path,
        help=".csv, .jsonl or .parquet file with one row per sample, or a folder of such files; logs of TRL and verl "
        "are recognized by their columns",
    )
    parser.add_argument("--group", metavar="COLUMN", help="column that names the group of a sample (default: group)")
    parser.add_argument(
        "--reward",
        metavar="COLUMN[=FACTOR],…",
        help="column of the reward, or several columns to be added with factors: accuracy,format=0.1 (default: reward)",
    )
    parser.add_argument(
        "--correct",
        metavar="COLUMN",
        help="0/1 column that says which samples are right; without it, a sample is right if its reward is above the "
        "middle of all rewards in the log",
    )
    options = parser.parse_args(arguments)
    try:
        print(report(reward_log.read(options.log, options.group, options.reward, options.correct)))
    except ValueError as error:
        sys.exit(plain(str(error)))
