"""Runs of TRL or verl, judged like this project's own: logs of success → paired comparisons and verdicts.

    softmax-rewards judge RUNS --success eval_rewards/accuracy/mean

    RUNS/<ablation>/seed-<n>/    one run: TRL's trainer_state.json, there or in its checkpoints; or one .jsonl or .csv
                                 with `step`, as verl's file logger writes it or flat

The ablation `linear` is the baseline. Success is the share of held-out prompts answered right; every run needs it at
step 0, before training, and at the same steps as every other. Comparisons are at equal steps only: the logs do not say
how many tokens were generated. Nothing else of a log is read: what needs rewards, weights or texts is not judged.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common import files, plugins, stats, table_files
from softmax_rewards.common.terminal import plain
from softmax_rewards.verdicts import judgment, rules, summary
from softmax_rewards.verdicts.evidence import LINEAR, Contrast, Evidence, label

BASELINE = LINEAR["scheme"]
LOGS = (".jsonl", ".csv")


@dataclass(frozen=True)
class ImportedRun:
    """One run: what `summary.comparisons` reads of a finished run. `evaluations` has step, success and tokens."""

    folder: Path
    ablation: str
    seed: int
    evaluations: pd.DataFrame


def read(root: Path, success: str) -> list[ImportedRun]:
    """The runs below `root`, the baseline's first, then by ablation and seed.

    success  the name under which the logs have the share of right answers, 0 to 1
    Raises ValueError in one line for a folder or a log that is not as above, and for runs that do not belong together.
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
            f"{root}: no ablation {BASELINE!r}, the baseline; allowed: <ablation>/seed-<n>, one ablation named so"
        )
    steps = runs[0].evaluations["step"].tolist()
    for run in runs:
        if run.evaluations["step"].tolist() != steps:
            raise ValueError(f"{run.folder}: not evaluated at the steps of {runs[0].folder}; allowed: the same for all")
    return sorted(runs, key=lambda run: (run.ablation != BASELINE, run.ablation, run.seed))


def judge(runs: Sequence[ImportedRun], primary: Sequence[str], name: str, success: str) -> tuple[pd.DataFrame, ...]:
    """(comparisons, verdicts): the tables of `summary.comparisons` and `verdicts.judge`.

    name     of what was trained, in place of the model and the task; success as for `read`
    primary  the ablations that were to be judged before the runs began, Holm-adjusted; all others are exploratory
    The claim about each ablation is that its mean success over training is above the baseline's.
    """
    compared = summary.comparisons(runs, BASELINE, primary)
    compared = compared[compared["endpoint"] != "auc_tokens"].reset_index(drop=True)
    planned = compared[compared["family"] == "primary"]
    ablations = list(dict.fromkeys(run.ablation for run in runs))
    configs = {ablation: {"weighting": {"scheme": ablation}, "training": {}} for ablation in ablations}
    evidence = Evidence(_measures(runs), configs, BASELINE, p_holm=dict(planned.set_index("ablation")["p_holm"]))
    claims = [
        judgment.Claim(
            ablation,
            f"{label({'scheme': ablation})} beats {BASELINE}",
            rules.every(Contrast({"scheme": ablation}, LINEAR)),
            "this ablation teaches the model more than the usual weights (GRPO's z-score){size}",
        )
        for ablation in ablations
        if ablation != BASELINE
    ]
    return compared, judgment.judge(claims, evidence, name, name, success)


def _measures(runs: Sequence[ImportedRun]) -> pd.DataFrame:
    """One row per run, index (ablation, seed): the endpoints that a success curve gives."""
    rows = {}
    for run in runs:
        steps, success = run.evaluations["step"], run.evaluations["success"]
        rows[run.ablation, run.seed] = {
            "base": success.iloc[0],
            "auc": stats.area(steps, success),
            "final": success.iloc[-1],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])


# ---- logs ---------------------------------------------------------------------------------------


def _curve(folder: Path, success: str) -> pd.DataFrame:
    points: dict[int, float] = {}
    seen: dict[str, None] = {}
    file = _log(folder)
    for where, row in _rows(file):
        seen |= dict.fromkeys(row)
        if row.get(success) in (None, ""):  # a step without an evaluation
            continue
        step, value = (table_files.number(row.get(name)) for name in ("step", success))
        if step is None or step != int(step) or step < 0:
            raise table_files.wrong(where, "step", row.get("step"), "a whole number from 0 on")
        if value is None or not 0 <= value <= 1:
            raise table_files.wrong(where, success, row[success], "a share of right answers, 0 to 1")
        if points.setdefault(int(step), value) != value:
            raise table_files.wrong(where, "step", row["step"], "each step once")
    if not points:
        offered = [name for name in seen if name.startswith(("eval_", "val-"))] or list(seen)
        raise ValueError(f"{file}: {plugins.unknown('name of success', success, offered)}")
    steps = sorted(points)
    if steps[0] != 0 or len(steps) < 2:
        listed = ", ".join(map(str, steps))
        raise ValueError(f"{file}: evaluated at step {listed}; allowed: at step 0, before training, and later")
    # The tokens are unknown. Steps stand in their place, and `judge` drops the endpoint that needs tokens.
    return pd.DataFrame({"step": steps, "success": [points[step] for step in steps], "tokens": steps})


def _log(folder: Path) -> Path:
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
    """Both tables as text: differences in percentage points, then a sentence for each verdict."""
    lines = [f"{'ablation':<24}{'endpoint':<10}{'seeds':>5}  {'points [95 %]':<24}{'p':>8}{'Holm':>8}  family"]
    for row in compared.itertuples():
        points = f"{100 * row.delta:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        adjusted = f"{row.p_holm:>8.2g}" if row.p_holm == row.p_holm else f"{'':>8}"
        lines.append(
            f"{row.ablation:<24}{row.endpoint:<10}{row.seeds:>5}  {points:<24}{row.p:>8.2g}{adjusted}  {row.family}"
        )
    lines += ["", *(f"{row.claim}: {row.verdict}. {row.sentence}" for row in judged.itertuples())]
    return "\n".join(map(plain, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; what is wrong ends it with one line."""
    parser = argparse.ArgumentParser(
        description="Compares runs of TRL or verl, paired by seed, with the ablation `linear`."
    )
    parser.add_argument("runs", type=Path, help="a folder of <ablation>/seed-<n>/, each with a log")
    parser.add_argument("--success", required=True, help="name of the share of right answers in the logs")
    parser.add_argument("--primary", default="", help="ablations planned beforehand: softmax,softmax_centered")
    parser.add_argument("--out", type=Path, help="folder for comparisons.csv and verdicts.csv")
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
