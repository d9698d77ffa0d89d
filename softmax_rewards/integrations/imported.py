"""Runs of TRL or verl, judged like this project's own runs: logs of success → paired comparisons and verdicts.

    softmax-rewards judge RUNS --success eval_rewards/accuracy/mean

    RUNS/<ablation>/seed-<n>/    one run: TRL's trainer_state.json, in the folder or in its last checkpoint; or one
                                 .jsonl or .csv file with `step`, from verl's file logger or flat

The ablation `linear` is the baseline. Success is the share of held-out prompts with a right answer. Every run needs it
at step 0, before training, and at the same steps as all other runs. Runs are compared at equal steps only, because the
logs do not say how many tokens were generated. Only success is read from a log, so claims about rewards, weights or
texts are not judged.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common import files, plugins, table_files
from softmax_rewards.common.terminal import plain
from softmax_rewards.verdicts import judgment, measures, rules, summary
from softmax_rewards.verdicts.evidence import LINEAR, Contrast, Evidence, label
from softmax_rewards.verdicts.wording import better

BASELINE = LINEAR["scheme"]
LOGS = (".jsonl", ".csv")


@dataclass(frozen=True)
class ImportedRun:
    """What `summary.comparisons` needs of a run. `evaluations` has the columns step, success and tokens."""

    folder: Path
    ablation: str
    seed: int
    evaluations: pd.DataFrame


def read(root: Path, success: str) -> list[ImportedRun]:
    """The runs in `root`: the baseline's first, then by ablation and seed.

    success  the name of the share of right answers, 0 to 1, in the logs
    Raises ValueError, one line, for a folder or a log in another form, and for runs that cannot be compared.
    """
    folders = sorted(folder for folder in root.glob("*/*") if folder.is_dir())
    if not folders:
        raise ValueError(f"{root}: no runs; allowed: folders <ablation>/seed-<n>")
    runs = []
    for folder in folders:
        seed = re.fullmatch(r"seed-(\d+)", folder.name, re.ASCII)
        if seed is None:
            raise ValueError(f"{folder}: not the name of a run; allowed: <ablation>/seed-<n>")
        runs.append(ImportedRun(folder, folder.parent.name, int(seed[1]), _curve(folder, success)))
    if BASELINE not in {run.ablation for run in runs}:
        raise ValueError(
            f"{root}: no ablation {BASELINE!r}, the baseline; allowed: <ablation>/seed-<n>, with runs in {BASELINE}/"
        )
    steps = runs[0].evaluations["step"].tolist()
    # The area under the curve depends on the steps at which it is measured.
    for run in runs:
        if run.evaluations["step"].tolist() != steps:
            raise ValueError(f"{run.folder}: not evaluated at the steps of {runs[0].folder}; allowed: the same for all")
    return sorted(runs, key=lambda run: (run.ablation != BASELINE, run.ablation, run.seed))


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


# ---- logs ---------------------------------------------------------------------------------------


def _curve(folder: Path, success: str) -> pd.DataFrame:
    points: dict[int, float] = {}
    seen: dict[str, None] = {}
    file = _log(folder)
    for where, row in _rows(file):
        seen |= dict.fromkeys(row)
        if row.get(success) in (None, ""):  # this step has no evaluation
            continue
        step, value = (table_files.number(row.get(name)) for name in ("step", success))
        if step is None or step != int(step) or step < 0:
            raise table_files.wrong(where, "step", row.get("step"), "a whole number from 0 on")
        if value is None or not 0 <= value <= 1:
            raise table_files.wrong(where, success, row[success], "a share of right answers, 0 to 1")
        # A trainer may log an evaluation twice. Two different values for one step are an error.
        if points.setdefault(int(step), value) != value:
            raise table_files.wrong(where, "step", row["step"], "each step once")
    if not points:
        # Trainers log dozens of names. Those of evaluations are the likely ones.
        offered = [name for name in seen if name.startswith(("eval_", "val-"))] or list(seen)
        raise ValueError(f"{file}: {plugins.unknown('name of success', success, offered)}")
    steps = sorted(points)
    if steps[0] != 0 or len(steps) < 2:
        listed = ", ".join(map(str, steps))
        raise ValueError(f"{file}: evaluated at step {listed}; allowed: at step 0, before training, and later")
    # The tokens are unknown. The steps replace them, and `judge` drops the endpoint that needs tokens.
    return pd.DataFrame({"step": steps, "success": [points[step] for step in steps], "tokens": steps})


def _log(folder: Path) -> Path:
    # A checkpoint's state has the whole history up to its step, so the last checkpoint is enough.
    states = [folder / "trainer_state.json"]
    checkpoints = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    states += [path / "trainer_state.json" for path in sorted(checkpoints, key=lambda p: -int(p.name.split("-")[1]))]
    logs = [state for state in states if state.is_file()][:1]
    logs += sorted(path for path in folder.iterdir() if path.suffix in LOGS)
    if len(logs) != 1:
        listed = ", ".join(path.name for path in logs) or "no log"
        raise ValueError(f"{folder}: {listed}; allowed: trainer_state.json, or one .jsonl or .csv")
    return logs[0]


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if file.suffix in LOGS:
        for where, row in table_files.rows(file):
            nested = row.get("data")  # verl's logger: {"step": 10, "data": {...}}
            yield where, {**nested, "step": row.get("step")} if isinstance(nested, dict) else row
        return
    try:
        history = json.loads(file.read_text(encoding="utf-8"))["log_history"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: no log_history; allowed: the trainer_state.json that TRL writes") from None
    yield from ((f"{file}, entry {number}", entry) for number, entry in enumerate(history, 1))


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
baseline. A run's log is TRL's trainer_state.json, or one .jsonl or .csv file with the column `step`. Every run needs
its success at step 0, and all runs need the same steps.

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
    try:
        runs = read(options.runs, options.success)
        compared, judged = judge(runs, [*filter(None, options.primary.split(","))], options.runs.name, options.success)
    except ValueError as error:
        sys.exit(plain(str(error)))
    if options.out:
        files.write_csv(compared, options.out / "comparisons.csv")
        files.write_csv(judged, options.out / "verdicts.csv")
    print(report(compared, judged))
