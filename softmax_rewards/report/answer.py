"""The answer of an experiment in five lines: what was asked, what was found, how sure it is, and what to do.

The lines come from the tables of the summary. The first page of a report shows them, and `softmax-rewards answer`
prints them at the end of `make report`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from softmax_rewards.common.terminal import plain
from softmax_rewards.report import names
from softmax_rewards.verdicts.wording import SUPPORTED, UNRESOLVED, clause, signed

OUTCOMES = {"better": "better", "worse": "worse", "equivalent": "as good", "not resolved": "open"}
WORDS = {"better": "Yes", "worse": "No", "equivalent": "No", "not resolved": "Open"}
NAMED = 4  # at most so many ablations are named in one line
ENOUGH = 4  # temperatures of a scheme, without which its best one is not asked for, as in the rule of the plan


class Line(NamedTuple):
    """A question and its answer; both are plain text."""

    question: str
    answer: str


class Condition(NamedTuple):
    """The tables of one condition: an experiment without conditions has one, with an empty name."""

    name: str
    baseline: str
    ablations: pd.DataFrame  # as ablations.csv
    final: pd.DataFrame  # as final.csv
    compared: pd.DataFrame  # rows of comparisons.csv about mean success, with `name`, `weighting` and `usual`
    verdicts: pd.DataFrame  # rows of verdicts.csv by claim

    @property
    def learned(self) -> bool:
        """Whether the gate is open. Where it is closed, nothing is compared."""
        return self.verdicts.loc["gate", "verdict"] == SUPPORTED

    def says(self, text: str) -> str:
        """`text` with the condition's name in front of it."""
        return f"{self.name}: {text}" if self.name else text


def lines(summary: Path) -> list[Line]:
    """The five lines of the experiment with the tables in `summary`."""
    conditions = list(_conditions(summary))
    temperature = pd.read_csv(summary / "temperature.csv")
    verdicts = pd.read_csv(summary / "verdicts.csv")
    return [
        Line("Did training work?", _joined(conditions, _learned)),
        Line("Does a softmax do better than GRPO?", _joined(conditions, _softmax)),
        Line("Is it the softmax?", _joined(conditions, _others)),
        Line("Which temperature?", _temperature(temperature, verdicts)),
        Line("What to do, and how sure is it?", f"{_advice(conditions)} {_certainty(summary, verdicts)}"),
    ]


def _conditions(summary: Path) -> Iterator[Condition]:
    ablations, final, compared, verdicts = (
        pd.read_csv(summary / f"{name}.csv") for name in ("ablations", "final", "comparisons", "verdicts")
    )
    judged = dict(list(verdicts.groupby(names.conditions(verdicts))))
    for name, members in ablations.groupby(names.conditions(ablations), sort=False):
        rows = compared[(compared["endpoint"] == "auc") & compared["ablation"].isin(members["ablation"])]
        rows = rows.merge(members[["ablation", "weighting", "setting"]], on="ablation")
        yield Condition(
            str(name),
            members["baseline"].iloc[0],
            members,
            final[final["ablation"].isin(members["ablation"])],
            rows.assign(name=rows["ablation"].map(_labels(members)), usual=rows["setting"].isna()),
            judged[name].set_index("claim"),
        )


def _labels(ablations: pd.DataFrame) -> dict[str, str]:
    return {slug: one.label for slug, one in names.described(ablations["ablation"], ablations).items()}


def _joined(conditions: Sequence[Condition], answer: Callable[[Condition], str]) -> str:
    return " ".join(condition.says(answer(condition)) for condition in conditions)


def _learned(condition: Condition) -> str:
    """How far GRPO and the best ablation raised success."""
    means = condition.final.groupby("ablation")[["base", "final"]].mean()
    if condition.baseline not in means.index:
        return "GRPO was not trained."
    base, grpo = means.loc[condition.baseline]
    planned = condition.ablations.loc[condition.ablations["planned"], "ablation"]
    best = means.loc[means.index.isin(planned), "final"].idxmax()
    text = f"GRPO went from {_percent(base)} to {_percent(grpo)} right answers"
    if best != condition.baseline:
        text += f", {_labels(condition.ablations)[best]} to {_percent(means.loc[best, 'final'])}"
    return f"Yes. {text}." if condition.learned else f"Not clearly, so nothing is decided. {text}."


def _softmax(condition: Condition) -> str:
    """The plain softmax against GRPO: τ = 0.5 if it was trained, else the planned temperatures."""
    rows = condition.compared
    rows = rows[rows["usual"] & rows["weighting"].str.fullmatch(r"softmax τ=[\d.]+")]
    if rows.empty:
        return "No constant softmax was trained."
    half = rows[rows["weighting"] == "softmax τ=0.5"]
    if half.empty:
        return _listed(_first(rows), condition.learned)
    return f"{WORDS[half['outcome'].iloc[0]] if condition.learned else 'Open'}: {_listed(half, condition.learned)}"


def _others(condition: Condition) -> str:
    """What is no plain softmax, and did better than GRPO; and how the softmax does beside Dr. GRPO."""
    rows = condition.compared
    rows = rows[~rows["weighting"].str.startswith("softmax τ") & (rows["family"] == "primary")]
    if rows.empty or not condition.learned:
        return "This experiment does not say."
    better = rows[rows["outcome"] == "better"]
    found = "Others are better than GRPO, too" if len(better) else "Nothing else is shown to be better than GRPO"
    text = f"{found}: {_listed(_first(better if len(better) else rows), condition.learned)}"
    direct = condition.verdicts.loc["M5"]
    return f"{text} {clause(direct['plain'])}" if direct["verdict"] != UNRESOLVED else text


def _first(rows: pd.DataFrame) -> pd.DataFrame:
    """Those to name: planned ones before others, large differences before small ones."""
    order = rows.assign(exploratory=rows["family"] != "primary")
    return order.sort_values(["exploratory", "delta"], ascending=[True, False], kind="stable").head(NAMED)


def _listed(rows: pd.DataFrame, decided: bool) -> str:
    """ "softmax τ = 0.5 +1.5 points [+0.3, +2.7] (better)." """
    parts = []
    for row in rows.to_dict("records"):
        delta, low, high = (signed(100 * row[key]) for key in ("delta", "low", "high"))
        limits = "" if pd.isna(row["low"]) else f" [{low}, {high}]"
        parts.append(f"{row['name']} {delta} points{limits} ({OUTCOMES[row['outcome']] if decided else 'not decided'})")
    return "; ".join(parts) + "."


def _temperature(table: pd.DataFrame, verdicts: pd.DataFrame) -> str:
    """The best temperature tried of each scheme, and whether half the reward range is shown to be special."""
    parts = []
    for scheme, rows in table[table["endpoint"] == "auc"].groupby("scheme", sort=False):
        if len(rows) < ENOUGH:
            continue
        best, half = rows.loc[rows["mean"].idxmax()], rows.loc[(rows["ratio"] - 0.5).abs().idxmin()]
        text = f"Of {len(rows)} temperatures of {names.scheme(str(scheme))}, {_success(best)} was highest"
        parts.append(
            f"{text}." if best["tau"] == half["tau"] else f"{text}; nearest to half the range {_success(half)}."
        )
    rule = verdicts[verdicts["claim"].isin(["C6a", "C6b"]) & (verdicts["seeds"] > 0)]
    parts += [clause(row["plain"]) for row in rule.to_dict("records")]
    return " ".join(parts) or f"Not asked here: no scheme was trained at {ENOUGH} temperatures or more."


def _success(row: pd.Series) -> str:
    return f"τ = {row['tau']:g} ({_percent(row['mean'])})"


def _advice(conditions: Sequence[Condition]) -> str:
    """The ablations that are better than GRPO in one condition and worse in none."""
    judged = pd.concat([one.compared for one in conditions if one.learned] or [conditions[0].compared.head(0)])
    judged = judged[judged["family"] == "primary"].sort_values("delta", ascending=False)
    outcomes = judged.groupby("name", sort=False)["outcome"].agg(set)
    chosen = [name for name, seen in outcomes.items() if "better" in seen and "worse" not in seen]
    if not chosen:
        return "Keep GRPO: nothing planned is shown to be better and nowhere worse."
    where = " in one condition and worse in none" if len(conditions) > 1 else " than GRPO"
    return f"Take one of these, which are better{where}: {'; '.join(chosen)}."


def _certainty(summary: Path, verdicts: pd.DataFrame) -> str:
    seeds = int(verdicts.loc[verdicts["claim"] == "gate", "seeds"].max())
    bases = len(json.loads((summary / "provenance.json").read_text(encoding="utf-8"))["base"])
    model, task = verdicts[["model", "task"]].iloc[0]
    over = f"{seeds} base models" if bases > 1 else f"{seeds} training seeds on one base model"
    return (
        f"Brackets are 95 % intervals over {over}. All of this holds for {model} on {task}, and says nothing of others."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line `softmax-rewards answer`."""
    parser = argparse.ArgumentParser(
        prog="softmax-rewards answer",
        description="Print what experiments found: five lines each.",
        epilog="example: softmax-rewards answer results/countdown-mini",
    )
    parser.add_argument(
        "experiments",
        type=Path,
        nargs="*",
        metavar="EXPERIMENT",
        help="folder of an experiment, results/NAME; default: all finished experiments in results/",
    )
    folders = parser.parse_args(arguments).experiments
    for folder in folders or sorted(file.parents[1] for file in Path("results").glob("*/summary/final.csv")):
        if not (folder / "summary" / "final.csv").is_file():
            sys.exit(plain(f"{folder}: no summary/final.csv; allowed: results/<experiment> after snakemake"))
        print(plain(f"{folder / 'report' / 'index.html'}"))
        for question, answer in lines(folder / "summary"):
            print(plain(f"  {question} {answer}"))


if __name__ == "__main__":
    main()
