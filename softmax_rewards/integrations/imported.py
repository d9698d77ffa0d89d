"""Runs of TRL or verl, judged like this project's own runs: logs of success → paired comparisons and verdicts.

    softmax-rewards judge RUNS --success eval_rewards/accuracy/mean

    RUNS/<ablation>/seed-<n>/    one run: TRL's trainer_state.json, in the folder or in its last checkpoint; or .jsonl
                                 or .csv files with `step`, from verl's file logger or flat (`success_log`)

The ablation `linear` is the baseline. Success is the share of held-out prompts with a right answer. Every run needs it
at step 0, before training, and all runs need the same last step. Runs are compared at equal steps only, because the
logs do not say how many tokens were generated. Only success is read from a log, so claims about rewards, weights or
texts are not judged.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from softmax_rewards.common import files
from softmax_rewards.common.terminal import plain
from softmax_rewards.integrations import success_log
from softmax_rewards.verdicts import judgment, measures, rules, summary
from softmax_rewards.verdicts.evidence import LINEAR, Contrast, Evidence, label
from softmax_rewards.verdicts.wording import better

BASELINE = LINEAR["scheme"]


@dataclass(frozen=True)
class ImportedRun:
    """What `summary.comparisons` needs of a run. `evaluations` has the columns step, success and tokens."""

    folder: Path
    ablation: str
    seed: int
    evaluations: pd.DataFrame


def read(root: Path, success: str, notes: list[str]) -> list[ImportedRun]:
    """The runs in `root`: the baseline's first, then by ablation and seed.

    success  the name of the share of right answers, 0 to 1, in the logs
    notes    gets sentences about what was left out of the logs
    Raises ValueError, one line, for a folder or a log in another form, and for runs that cannot be compared.
    """
    visible = (path for path in root.glob("*/*") if not any(part.startswith(".") for part in path.parts[-2:]))
    folders = sorted(path for path in visible if path.is_dir())
    if not folders:
        raise ValueError(f"{root}: no runs; allowed: folders <ablation>/seed-<n>")
    runs = []
    for folder in folders:
        seed = re.fullmatch(r"seed-(\d+)", folder.name, re.ASCII)
        if seed is None:
            raise ValueError(f"{folder}: not the name of a run; allowed: <ablation>/seed-<n>")
        curve = success_log.curve(folder, success, notes)
        runs.append(ImportedRun(folder, folder.parent.name, int(seed[1]), curve))
    if BASELINE not in {run.ablation for run in runs}:
        raise ValueError(
            f"{root}: no ablation {BASELINE!r}, the baseline; allowed: <ablation>/seed-<n>, with runs in {BASELINE}/"
        )
    return sorted(_at_shared_steps(runs, notes), key=lambda run: (run.ablation != BASELINE, run.ablation, run.seed))


def _at_shared_steps(runs: Sequence[ImportedRun], notes: list[str]) -> list[ImportedRun]:
    """The runs with the steps at which all were evaluated, because an area under a curve depends on its steps.

    A resumed run may have evaluated where it went on, and the others did not. All runs need the same last step, because
    otherwise one that ended early would shorten all others.
    """
    steps = [run.evaluations["step"] for run in runs]
    for run, own in zip(runs, steps, strict=True):
        if own.iloc[-1] != steps[0].iloc[-1]:
            raise ValueError(
                f"{run.folder}: last evaluated at step {own.iloc[-1]}, {runs[0].folder} at {steps[0].iloc[-1]}; "
                "allowed: the same for all"
            )
    shared = set.intersection(*map(set, steps))
    dropped = sorted(set().union(*steps) - shared)
    if dropped:
        listed = ", ".join(map(str, dropped))
        notes.append(f"Not all runs were evaluated at step {listed}: they are compared at the other steps.")
    tables = [run.evaluations[own.isin(shared)].reset_index(drop=True) for run, own in zip(runs, steps, strict=True)]
    return [replace(run, evaluations=table) for run, table in zip(runs, tables, strict=True)]


def judge(runs: Sequence[ImportedRun], primary: Sequence[str], name: str, success: str) -> tuple[pd.DataFrame, ...]:
    """(comparisons, verdicts): the tables of `summary.comparisons` and `judgment.judge`.

    primary  the ablations that were planned before the runs began; they get Holm's correction, all others are
             exploratory
    name     what was trained; it stands for the experiment and the model
    success  as for `read`; it stands for the task
    The claim about each ablation is that its mean success over training is higher than the baseline's.
    """
    ablations = list(dict.fromkeys(run.ablation for run in runs))
    configs = {ablation: {"weighting": {"scheme": ablation}, "training": {}} for ablation in ablations}
    evidence = Evidence(_measures(runs), configs, BASELINE)
    compared = summary.comparisons(runs, BASELINE, primary, evidence)
    compared = compared[compared["endpoint"] != "auc_tokens"].reset_index(drop=True)
    planned = compared[compared["family"] == "primary"]
    evidence = replace(evidence, p_holm=dict(planned.set_index("ablation")["p_holm"]))
    claims = [
        judgment.Claim(
            ablation,
            f"{label({'scheme': ablation})} beats {BASELINE}",
            rules.every(Contrast({"scheme": ablation}, LINEAR)),
            better(ablation, "GRPO"),
        )
        for ablation in ablations
        if ablation != BASELINE
    ]
    return compared, judgment.judge(claims, evidence, name, name, success)


def _measures(runs: Sequence[ImportedRun]) -> pd.DataFrame:
    """One row per run, index (ablation, seed): the endpoints that a success curve gives, and the base model's."""
    # Whether all runs start from the same model is not known, so each has its own step 0.
    rows = {
        (run.ablation, run.seed): measures.of_curve(run.evaluations) | {"base": run.evaluations["success"].iloc[0]}
        for run in runs
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])


# ---- command line -------------------------------------------------------------------------------


def report(compared: pd.DataFrame, judged: pd.DataFrame) -> str:
    """Both tables as text: differences in percentage points, then one sentence per verdict."""
    lines = [f"{'ablation':<24}{'endpoint':<10}{'seeds':>5}  {'points [95 %]':<24}{'p':>8}{'Holm':>8}  family"]
    for row in compared.itertuples():
        points = f"{100 * row.delta:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        # NaN, which is not equal to itself, means that the row is not in the primary family.
        adjusted = f"{row.p_holm:>8.2g}" if row.p_holm == row.p_holm else f"{'':>8}"
        lines.append(
            f"{row.ablation:<24}{row.endpoint:<10}{row.seeds:>5}  {points:<24}{row.p:>8.2g}{adjusted}  {row.family}"
        )
    lines += ["", *(f"{row.claim}: {row.verdict}. {row.sentence}" for row in judged.itertuples())]
    return "\n".join(map(plain, lines))


EPILOG = """\
examples, for runs of TRL and of verl:
  softmax-rewards judge outputs --success eval_rewards/accuracy/mean
  softmax-rewards judge outputs --success val-core/countdown/acc/mean@1 --primary softmax_centered --out judged

outputs/ has one folder per run: linear/seed-0, linear/seed-1, softmax_centered/seed-0, … The ablation `linear` is the
baseline. A run's log is TRL's trainer_state.json, or .jsonl or .csv files with the column `step`. Every run needs its
success at step 0, and all runs need the same last step. If a run was resumed, its later evaluation of a step counts.

The output is a table and a list. A row such as
  softmax_centered        auc           3  +1.2 [+0.3, +2.1]          0.029   0.029  primary
says that with 3 seeds the mean success over training (auc) was 1.2 percentage points above the baseline's, 95 %
interval 0.3 to 2.1, p = 0.029, the same after Holm's correction. `final` is success at the last step. The list has one
verdict per ablation for "this ablation beats linear":
  supported      the whole interval lies above 0
  contradicted   it lies below 0, or inside ± a fifth of what the baseline gained: no difference that matters
  not resolved   these runs cannot tell; so it is everywhere if `gate` is not supported, because then neither the
                 baseline nor an ablation of --primary learned
docs/other-trainers.md has more.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. An error ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="softmax-rewards judge",
        description="Compare runs of TRL or verl with their GRPO baseline, paired by seed, and judge the differences.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, help="folder with one folder per run: <ablation>/seed-<n>/, each with a log")
    parser.add_argument(
        "--success",
        required=True,
        metavar="NAME",
        help="name in the logs of the share of held-out prompts with a right answer, a number from 0 to 1",
    )
    parser.add_argument(
        "--primary",
        default="",
        metavar="ABLATION,…",
        help="ablations that you decided to judge before the runs began; their p values are corrected for their number "
        "(Holm); all other ablations are marked exploratory",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write comparisons.csv and verdicts.csv there")
    options = parser.parse_args(arguments)
    notes: list[str] = []
    try:
        runs = read(options.runs, options.success, notes)
        compared, judged = judge(runs, [*filter(None, options.primary.split(","))], options.runs.name, options.success)
    except ValueError as error:
        sys.exit(plain(str(error)))
    if options.out:
        files.write_csv(compared, options.out / "comparisons.csv")
        files.write_csv(judged, options.out / "verdicts.csv")
    print("\n".join([*map(plain, notes), report(compared, judged)]))
