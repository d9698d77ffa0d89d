"""What the notebooks show: figures as images, and tables as HTML in which every text is escaped."""

import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML, Image
from IPython.display import display as show

from softmax_rewards.report import names
from softmax_rewards.report.answer import Line
from softmax_rewards.verdicts.reasoning import MEASURES

if TYPE_CHECKING:
    from softmax_rewards.report.plots.drawing import Drawn

MOST_ROWS = 16
_VERDICTS = {"supported": "supported", "contradicted": "contradicted", "not resolved": "unresolved"}


def figure(drawn: "Drawn", description: str, caption: str = "") -> None:
    """Show `drawn` as a PNG for screens of high density, with its caption below.

    A figure that could not be drawn is left out: one line says why. `description`: the alternative text; `caption`:
    what to see, as HTML.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not isinstance(drawn, Figure):
        show(HTML(f"<p><em>No figure: {html.escape(drawn.reason)}.</em></p>"))
        return
    buffer = io.BytesIO()
    drawn.set_dpi(160)
    # Not `savefig`: it draws every figure once for its layout and a second time for its pixels.
    FigureCanvasAgg(drawn).print_png(buffer)
    show(Image(buffer.getvalue(), width=int(96 * drawn.get_figwidth()), alt=description))
    if caption:
        show(HTML(f"<p><strong>What to see.</strong> {caption}</p>"))


def table(
    frame: pd.DataFrame,
    formats: Mapping[str, str | Callable[[object], str]] | None = None,
    headings: Mapping[str, str] | None = None,
    empty: str = "Nothing to show.",
    folds: bool = True,
) -> HTML:
    """`frame` as an HTML table. Headings and cells are escaped, numbers are right-aligned, a missing value is a dash.

    A column `scheme` shows the schemes' names. A table of more than MOST_ROWS rows is folded if it `folds`.
    `formats`: column -> format specification (".2f") or function; `headings`: column -> heading.
    """
    if frame.empty:
        return HTML(f"<p><em>{html.escape(empty)}</em></p>" if empty else "")
    forms: dict[str, str | Callable[[Any], str]] = {"scheme": names.scheme, **(formats or {})}
    headings = headings or {}
    cells, shown = [], []
    for column, values in frame.items():
        is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        wrap = '<span class="number">{}</span>'.format if is_number else str
        shown.append(wrap(html.escape(headings.get(column, str(column).replace("_", " ")))))
        cells.append([wrap(_cell(value, forms.get(column))) for value in values.tolist()])
    page = _table(zip(*cells, strict=True), shown)
    if folds and len(frame) > MOST_ROWS:
        page = f"<details><summary>Table of {len(frame)} rows</summary>{page}</details>"
    return HTML(page)


def _table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> str:
    """A table of cells and headings that are HTML already. It has no ids, so equal cells give equal bytes."""
    # The columns are numbers, because headings may be equal; pandas' relabel_index would take "{" for a format.
    styler = pd.DataFrame(rows, columns=range(len(headings))).style.hide(axis="index")
    return styler.format_index(headings.__getitem__, axis="columns").to_html(exclude_styles=True)


def _cell(value: object, form: str | Callable[[object], str] | None) -> str:
    """A value as HTML. The escape comes after the format, so that no type of value passes without it."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if callable(form):
        text = form(value)
    elif form is not None:
        text = format(value, form)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    first, line_break, rest = html.escape(text).replace("\n", "<br>").partition("<br>")
    if first in _VERDICTS:
        first = f'<span class="{_VERDICTS[first]}">{first}</span>'
    return first + line_break + rest


def answer(lines: Iterable[Line]) -> HTML:
    """Questions and their answers, one below the other. A number does not break from its sign or unit."""
    entries = "".join(
        f"<dt>{html.escape(question)}</dt><dd>{html.escape(_unbroken(text))}</dd>" for question, text in lines
    )
    return HTML(f'<dl class="answer">{entries}</dl>')


def _unbroken(text: str) -> str:
    return re.sub(r"(?<=[=\d,]) (?=[%\d+−→])|(?<=τ) (?==)", "\u00a0", text)


def points(value: float) -> str:
    """A difference of fractions in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def size(value: float) -> str:
    """The size of a difference of fractions in percentage points."""
    return f"{100 * value:.1f}"


def endpoint(name: str) -> str:
    """What an endpoint of comparisons.csv and temperature.csv measures."""
    words = {"auc": "mean over training", "auc_tokens": "mean at equal tokens", "final": "at the end"}
    return words[name].replace(" ", "\u00a0")  # a narrow column would break it into three lines


def interval(frame: pd.DataFrame) -> pd.Series:
    """ "effect [low, high] unit" of each row; "–" where nothing was measured."""

    def text(row: Mapping) -> str:
        if pd.isna(row["effect"]):
            return "–"
        form = "+.1f" if row["unit"] == "points" else "+.3g"
        effect, low, high = (format(row[column], form) for column in ("effect", "low", "high"))
        limits = "no interval" if pd.isna(row["low"]) else f"{low}, {high}"
        # Spaces that do not break, and real minus signs, keep an interval readable in a narrow column.
        numbers = f"{effect} [{limits}]".replace(" ", "\u00a0").replace("-", "\u2212")
        return numbers if pd.isna(row["unit"]) else f"{numbers} {row['unit']}"

    return pd.Series([text(row) for row in frame.to_dict("records")], index=frame.index, dtype=object)


def difference(frame: pd.DataFrame) -> pd.Series:
    """ "delta [low, high]" of each row, in percentage points."""
    shown = {"effect": 100 * frame["delta"], "low": 100 * frame["low"], "high": 100 * frame["high"]}
    return interval(frame.assign(**shown, unit="points")).str.removesuffix(" points")


def ratio(frame: pd.DataFrame) -> pd.Series:
    """ "1.20 [1.05, 1.41]" of each row: the ratio of gains with its limits; "–" where it is not known."""
    numbers = frame[["ratio", "ratio_low", "ratio_high"]].to_numpy(float)
    texts = [
        f"{r:.2f} [{low:.2f}, {high:.2f}]".replace("-", "\u2212").replace(" ", "\u00a0") for r, low, high in numbers
    ]
    known = pd.notna(numbers).all(axis=1)
    return pd.Series(texts, index=frame.index, dtype=object).where(known, "–")


def verdicts(
    frame: pd.DataFrame,
    columns: Sequence[str],
    headings: Mapping[str, str] | None = None,
    where: str = "in this experiment",
    empty: str = "No claim was tested.",
) -> HTML:
    """`columns` of the claims that were tested, one row per claim; below it, the other claims by name.

    Those stand in one line, "Not tested" and `where`; if `columns` has the sentences, in one line per sentence, because
    the sentence of such a claim says what it needs. `frame`: rows of verdicts.csv.
    """
    tested = frame["seeds"] > 0
    page = table(frame.loc[tested, [*columns]], headings=headings, empty=empty, folds=False).data
    others = frame[~tested]
    reasons = (
        others["sentence"] + " Claims" if "sentence" in columns else pd.Series(f"Not tested {where}", others.index)
    )
    for reason, claims in others.groupby(reasons, sort=False)["claim"]:
        names_of_claims = "; ".join(claims.unique())  # some names have a comma
        page += f"<p>{html.escape(f'{reason}: {names_of_claims}.')}</p>"
    return HTML(page)


def place(frame: pd.DataFrame) -> pd.Series:
    """The experiment of each row of verdicts.csv, with its condition: "countdown-mini (trap)"."""
    places = [names.place(*row) for row in zip(frame["experiment"], names.conditions(frame), strict=True)]
    return pd.Series(places, frame.index)


def by_experiment(frame: pd.DataFrame) -> HTML:
    """One row per claim, one column per experiment and condition: verdict and effect.

    `frame`: as from `judgment.overview`.
    """
    frame = frame.assign(experiment=place(frame))
    cells = frame.assign(cell=frame["verdict"] + "\n" + interval(frame), tested=frame["seeds"] > 0)
    order = frame["claim"].unique()
    wide = cells[cells["tested"]].pivot(index="claim", columns="experiment", values="cell").reindex(order)
    wide = wide[[name for name in frame["experiment"].unique() if name in wide]]
    statements = frame.drop_duplicates("claim").set_index("claim")["statement"]
    shown = wide.assign(statement=statements).reset_index()[["claim", "statement", *wide]]
    return table(shown, folds=False)


def fits(described: Mapping[str, Mapping[str, Mapping]]) -> HTML:
    """One row per scheme and endpoint of temperature_fit.json (`tau_rule.Fit`)."""
    rows = [
        {
            "scheme": scheme,
            "success": endpoint(measured),
            "temperatures": ", ".join(f"{tau:g}" for tau in fit["taus"]),
            "seeds": fit["seeds"],
            "best τ of the grid": fit["best"],
            "maximum inside the grid, τ/range": f"{fit['ratio']:.2f}" if fit["interior"] else "none",
            "why none": fit["reason"],
            "where the peak may be, τ/range": _region(*fit["region"]),
        }
        for scheme, both in described.items()
        for measured, fit in both.items()
    ]
    return table(pd.DataFrame(rows), empty="No scheme was trained at several constant temperatures.")


def _region(low: float | None, high: float | None) -> str:
    """Limits of τ/range from temperature_fit.json in words. The file has null for infinity and for unknown limits."""
    if low is None:
        return "unknown"
    if high is None:
        return f"above {low:.2f}" if low else "anywhere"
    return f"{low:.2f} to {high:.2f}" if low else f"below {high:.2f}"


def provenance(described: Mapping[str, Any]) -> HTML:
    """provenance.json as a table; a list of one entry is shown as that entry."""

    def text(value: object) -> str:
        if isinstance(value, list):
            return "\n".join(text(item) for item in value) if len(value) < 2 else ", ".join(map(text, value))
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {item}" for key, item in value.items())
        return str(value)

    facts = {**described, "runs": f"{len(described['runs'])} runs"}
    plans = facts.pop("runs_by_plan", {})  # summaries of earlier code have none
    shown = table(pd.DataFrame({"what": list(facts), "value": [text(value) for value in facts.values()]}))
    others = [f"{_started(plan)}: {count}" for plan, count in plans.items() if plan != described["plan_sha256"]]
    note = f"<p>Runs that did not start under the plan that they are judged by: {'; '.join(others)}.</p>"
    return HTML(shown.data + note) if others else shown


def _started(plan: str) -> str:
    """The plan that runs started under, a sha256 or "unrecorded", in words."""
    return "no plan was recorded" if plan == "unrecorded" else f"plan {plan[:16]}"


def failures(detected: pd.DataFrame, runs: pd.DataFrame) -> HTML:
    """How each ablation failed: a sentence, and a table with one row per ablation.

    `detected`: failures.csv; `runs`: ablation and seed of every run, with or without a failure.
    """
    died = detected[detected["mode"] == "success below base"]["ablation"].unique()
    verdict = "No run fell below its base model."
    if len(died):
        verdict = f"These ablations fell below their base model: {', '.join(died)}."
    rows = []
    for ablation, members in runs.groupby("ablation", sort=False):
        modes = detected[detected["ablation"] == ablation].groupby("mode", sort=False)
        symptoms = [
            f"{mode} ({len(hit)} of {len(members)} seeds, from step {', '.join(map(str, sorted(set(hit['step']))))})"
            for mode, hit in modes
        ]
        rows.append({"ablation": ablation, "seeds": len(members), "failures": "\n".join(symptoms) or "none"})
    return HTML(f"<p>{html.escape(verdict)}</p>{table(pd.DataFrame(rows)).data}")


def behaviors(frame: pd.DataFrame) -> HTML:
    """One row per ablation, one column per `reasoning.MEASURES`: mean [t interval over seeds] at the last step with it.

    `frame`: behaviors.csv. A measure that is 0 in every ablation and at every step is left out.
    """
    columns = {}
    for measure, name in MEASURES.items():
        known = frame[(frame["measure"] == measure) & frame["mean"].notna()]
        if not known["mean"].any():
            continue
        last = known[known["step"] == known["step"].max()].set_index("ablation")
        columns[f"{name}, step {last['step'].iloc[0]}"] = pd.Series(
            {ablation: _limits(row, share=name.startswith("share")) for ablation, row in last.to_dict("index").items()}
        )
    shown = pd.DataFrame(columns, index=frame["ablation"].unique()).rename_axis("ablation").reset_index()
    return table(shown, empty="No behavior was measured.")


def _limits(row: Mapping[str, float], share: bool) -> str:
    """ "1.53 [1.38, 1.64]", in percent for a share."""
    mean, low, high = (f"{100 * row[key]:.1f}" if share else f"{row[key]:.2f}" for key in ("mean", "low", "high"))
    limits = "no interval" if pd.isna(row["low"]) else f"{low}, {high}"
    return f"{mean}{' %' if share else ''} [{limits}]".replace(" ", "\u00a0").replace("-", "\u2212")
