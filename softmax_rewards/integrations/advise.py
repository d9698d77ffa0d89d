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

from softmax_rewards.common.terminal import plain
from softmax_rewards.integrations import advice, group_log, reward_log, switches
from softmax_rewards.integrations.reward_log import RewardLog
from softmax_rewards.verdicts import decisions
from softmax_rewards.weighting.study import answer_lengths, log_map, simultaneous
from softmax_rewards.weighting.study.answer_lengths import Answers, LengthFigures
from softmax_rewards.weighting.study.log_map import Levels
from softmax_rewards.weighting.study.populations import Population, summarize, weigh
from softmax_rewards.weighting.study.settings import settings

SHARES = (0.1, 0.25, 0.5, 1.0, 2.0)  # tau/range
COMMON = 0.05  # a group size gets a table if at least this share of the groups has it
WIDTH = 110  # characters per line of text; a line of the table has up to 120
CAUTION = (
    "A prediction for one batch is no training result. What training found in other cases: "
    "docs/what-should-i-use.md. Try a change on several seeds before you believe it."
)


def table(groups: Population, reward_range: float, seed: int = 0) -> pd.DataFrame:
    """One row per scheme and tau, `linear` first.

    scheme, tau, tau_over_range   the latter two are NaN without a temperature
    effective_n, zero_groups, weight_right, weight_wrong   as in `populations.summarize`
    all_wrong                     share of the squared weight in groups without a right sample
    snr                           predicted signal-to-noise, per square root of the number of samples
    better, low, high             snr minus that of linear, and its simultaneous limits (`simultaneous`)
    tilt, x                       as in `log_map.figures`
    """
    size = groups.rewards.shape[1]
    chosen = settings(size, taus=[share * reward_range for share in SHARES])
    # The limits compare every setting with the first one.
    chosen.sort(key=lambda setting: setting[0] != "linear")
    rows = []
    for scheme, hyperparameters in chosen:
        figures = summarize(groups, scheme, hyperparameters, seed)
        square = np.mean(weigh(groups, scheme, hyperparameters) ** 2, axis=-1) * groups.counts
        hopeless = ~groups.correct.any(axis=-1)
        total, tau = square.sum(), hyperparameters.get("tau", np.nan)
        place = log_map.figures(groups, scheme, hyperparameters)
        rows.append(
            {"scheme": scheme, "tau": tau, "tau_over_range": tau / reward_range}
            | {name: figures[name] for name in ("effective_n", "zero_groups", "weight_right", "weight_wrong")}
            | {"all_wrong": float(square @ hopeless / total) if total else 0.0, "tilt": place.tilt, "x": place.x}
        )
    return pd.DataFrame(rows).join(simultaneous.of_settings(groups, chosen, seed))


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
    lines += [_wrapped(note) for note in log.notes]
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
        lines += ["", *_section(groups, log.answers.get(size), (low, high), log.inferred, seed)]
    if rare == number:
        lines += ["", f"Suggestion: none. {len(log.by_size)} group sizes, none of them {COMMON:.0%} of the groups."]
    elif rare:
        lines += ["", f"Groups of rare sizes, each below {COMMON:.0%} of all, left out: {rare}."]
    return "\n".join([*lines, "", _wrapped(CAUTION)])


def _wrapped(text: str) -> str:
    """`text` in lines of WIDTH characters. Names such as softmax-0.5 stay in one piece."""
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def _section(
    groups: Population, answers: Answers | None, ends: tuple[float, float], inferred: bool, seed: int
) -> list[str]:
    """The lines about the groups of one size. `ends` are the log's lowest and highest reward.

    `answers` is None for a log without lengths.
    """
    reward_range = ends[1] - ends[0]
    size, share = groups.rewards.shape[1], groups.counts / groups.counts.sum()
    right = groups.correct.sum(axis=-1)
    success = float(share @ right) / size
    mixed = int(groups.counts @ ((right > 0) & (right < size)))
    dead = share @ (groups.rewards.max(axis=-1) == groups.rewards.min(axis=-1))
    kinds = log_map.levels(groups)
    lengths = answer_lengths.measure(answers, kinds) if answers and kinds else None
    figures = table(groups, reward_range, seed)
    overview = (
        f"{int(groups.counts.sum())} groups of N = {size}: success {success:.1%}, "
        f"no sample right in {share @ (right == 0):.1%}, all rewards equal in {dead:.1%}."
    )
    shortening = advice.collapse(figures, kinds, lengths)
    texts = [
        *_explained(size, kinds, lengths, bool(figures["tilt"].isna().all())),
        *(f"Warning: {text}" for text in advice.warnings(groups, reward_range, inferred)),
        *(f"Warning: {text}" for text in shortening),
        advice.suggestion(figures, mixed),
    ]
    tried = decisions.found(success, advice.costly(lengths), kinds is not None, size)
    words = _switches(advice.recommended(figures, mixed), ends, _threshold(groups), bool(shortening))
    return [overview, "", *_rows(figures), "", *map(_wrapped, [*texts, *tried]), *words]


def _threshold(groups: Population) -> float | None:
    """The lowest reward of a right sample; None if a wrong one has as much."""
    lowest, highest = groups.rewards[groups.correct], groups.rewards[~groups.correct]
    if not len(lowest) or (len(highest) and highest.max() >= lowest.min()):
        return None
    return float(lowest.min())


def _switches(
    recommended: pd.Series | None, ends: tuple[float, float], threshold: float | None, shortening: bool
) -> list[str]:
    """The recommendation in the words of other trainers, an empty line first."""
    if recommended is None:
        return []
    tau = None if np.isnan(recommended["tau"]) else float(recommended["tau"])
    texts = switches.of_scheme(recommended["scheme"], tau, ends, threshold)
    name = advice.setting_name(recommended)
    return ["", f"How to choose {name}:", *map(_wrapped, [*texts, *([switches.against_cuts()] if shortening else [])])]


def _rows(figures: pd.DataFrame) -> list[str]:
    """The table as text, its heading first."""
    lines = [
        f"{'scheme':<21}{'tau/range':>9}{'tau':>7}{'eff. N':>7}{'zero':>5}{'w right':>8}{'w wrong':>9}{'all-wrong':>10}"
        f"{'tilt':>6}{'X':>7}{'S/N':>6}  against linear [95 %]"
    ]
    for row in figures.itertuples():
        # NaN, which is not equal to itself, means that the scheme has no temperature.
        tau = f"{row.tau_over_range:>9.2f}{row.tau:>7.3g}" if row.tau == row.tau else " " * 16
        against = "" if row.Index == 0 else f"  {row.better:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        tilt = f"{row.tilt:>6.2f}" if row.tilt == row.tilt else f"{'-':>6}"
        # Adding 0.0 turns -0.0 into 0.0.
        x = f"{round(row.x, 3) + 0.0:>7.3f}" if row.x == row.x else f"{'-':>7}"
        lines.append(
            f"{row.scheme:<21}{tau}{row.effective_n:>7.2f}{row.zero_groups:>5.0%}{row.weight_right:>8.3g}"
            f"{row.weight_wrong:>9.3g}{row.all_wrong:>10.0%}{tilt}{x}{row.snr:>6.3f}{against}"
        )
    return lines


def _explained(size: int, kinds: Levels | None, lengths: LengthFigures | None, no_tilt: bool) -> list[str]:
    """One text about tilt, one about X, and one about lengths where the log has them."""
    tilt = (
        "tilt: how much stronger a scheme separates right from wrong in groups with one right sample than in groups "
        "with four; above 1, hard prompts count more."
    )
    if no_tilt:
        tilt += " It is missing here: " + ("N is below 5." if size < 5 else "the log lacks such groups.")
    if kinds is None:
        return [tilt, "X: missing, because no sample is right or all wrong samples earn the same."]
    x = (
        "X: how many right answers a scheme gives up for one more well-formed answer; the rewards say "
        f"{kinds.paid:.3f}. A wrong answer counts as well formed from reward {kinds.threshold:.6g} on."
    )
    if kinds.number > 2:
        x += f" Wrong answers have {kinds.number} rewards; this is the middle of their range."
    if lengths is None:
        return [tilt, x]
    length = (
        f"Mean length: right {lengths.right:.4g}, well formed but wrong {lengths.formed:.4g}, others "
        f"{lengths.unformatted:.4g}. Correlation of length and format among wrong answers: {lengths.correlation:.2f}."
    )
    return [tilt, x, length]


EPILOG = """\
examples, for a table of your own and for the folder that TRL writes with log_completions:
  softmax-rewards advise rewards.csv
  softmax-rewards advise outputs/completions --reward accuracy,format=0.1

The first line of rewards.csv is `group,reward,correct`. A row such as `0,1.1,1` is one sample.

The output has one row per scheme and temperature. Read two columns first: `S/N`, the predicted signal-to-noise of a
batch (twice the S/N is the same precision from a quarter of the samples), and `against linear`, its difference to GRPO
with 95 % limits. A scheme is suggested only if the lower limit is above 0 and the gain is at least 5 %. It is a
prediction for one batch, not a training result. If `X` is far above what the rewards say, the scheme overpays for
format, and answers may get short. docs/what-should-i-use.md explains every column.
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
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="column that names the group of a sample (default: group, for verl uid or input)",
    )
    parser.add_argument(
        "--reward",
        metavar="COLUMN[=FACTOR],…",
        help="column of the reward, or several columns to be added with factors: accuracy,format=0.1 (default: reward)",
    )
    parser.add_argument(
        "--correct",
        metavar="COLUMN",
        help="0/1 column that says which samples are right (default: correct, for verl acc); without one, a sample is "
        "right if its reward is above the middle of all rewards in the log",
    )
    parser.add_argument(
        "--length",
        metavar="COLUMN",
        help="column of the length of an answer, in any unit (default: length; for TRL and verl, the characters of the "
        "answer)",
    )
    options = parser.parse_args(arguments)
    log = group_log.preferred(options.log)
    try:
        if log != options.log:
            print(f"Reads {plain(str(log))}, the groups that were trained on, instead of {plain(str(options.log))}.")
        print(report(reward_log.read(log, options.group, options.reward, options.correct, options.length)))
    except ValueError as error:
        sys.exit(plain(str(error)))
