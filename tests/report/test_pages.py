import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.report import conditions, display, pages, samples
from softmax_rewards.report.publish import publish
from softmax_rewards.verdicts import aggregate

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
HOSTILE = '<script src="https://example.org/x.js">alert(1)</script>'


def notebook(path: Path, *cells: str) -> Path:
    first = nbformat.v4.new_code_cell("word = 'default'", metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A page\n[next](other.html)"),
            first,
            *map(nbformat.v4.new_code_cell, cells),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(made, path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    source = notebook(
        folder / "page.ipynb",
        "import pandas as pd\nfrom matplotlib.figure import Figure\nfrom softmax_rewards.report import display",
        f"display.table(pd.DataFrame({{'text': [word, {HOSTILE!r}]}}))",
        "figure = Figure((2, 1))\nfigure.subplots()\ndisplay.figure(figure, 'a rising \"line\"')",
        "print(word)",
    )
    out = folder / "out"
    pages.execute(source, out / "page.ipynb", out / "page.html", {"word": "given"}, folder / "logs/page.ipynb")
    return folder


def test_warnings_of_libraries_stay_out_of_the_page(tmp_path, capsys):
    warning = "print('a temporary cache directory', file=sys.stderr)"
    warned = f"import sys\n{warning}\nprint('a number')"
    source, out = notebook(tmp_path / "page.ipynb", warned), tmp_path / "out"
    pages.execute(source, out / "page.ipynb", out / "page.html", {}, tmp_path / "log.ipynb")
    for file in (out / "page.ipynb", out / "page.html"):
        text = file.read_text(encoding="utf-8").replace(warning, "")
        assert "a number" in text and "cache directory" not in text
    assert "a temporary cache directory" in capsys.readouterr().err  # the log of the job


def test_execute_writes_the_copy_and_its_page_with_the_parameters(executed):
    copy = nbformat.read(executed / "out/page.ipynb", as_version=4)
    page = (executed / "out/page.html").read_text(encoding="utf-8")
    assert copy.cells[-1].outputs[0].text == "given\n"
    assert "word = " in "".join(cell.source for cell in copy.cells)
    assert "word = " not in page  # the code stays in the copy
    assert "given" in page
    assert '<a href="other.html">' in page
    assert sorted(path.name for path in (executed / "out").iterdir()) == ["page.html", "page.ipynb"]
    assert not list((executed / "logs").iterdir())


class Tags(HTMLParser):
    """(tag, attributes) of a page, and its style sheets."""

    def __init__(self, page):
        super().__init__()
        self.found, self.styles = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "style":
            self.styles += data


def test_the_page_runs_no_script_and_needs_no_network(executed):
    tags = Tags((executed / "out/page.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in tags.found}
    targets = [attributes.get(key) or "" for _, attributes in tags.found for key in ("src", "href")]
    targets = {target.split(",")[0] for target in targets if target}
    assert targets == {"data:image/png;base64", "other.html", "#A-page"}
    assert tags.styles
    assert "url(" not in tags.styles
    assert "@import" not in tags.styles


def test_text_of_a_model_is_shown_and_not_run(executed):
    page = (executed / "out/page.html").read_text(encoding="utf-8")
    assert "&lt;script src=" in page


def test_the_page_of_samples_runs_nothing_that_a_model_wrote(tmp_path):
    wrote = f"{HOSTILE}</pre></td></table><img src=x onerror=alert(1)><iframe src='https://example.org'></iframe>"
    wrote += "<a href='javascript:alert(1)'>x</a>[x](javascript:alert(1)) ![x](x) $\\frac$ \x1b]0;title\x07\x1b[31mred"
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    runs = synthetic.write_experiment(tmp_path / "runs", ablations=ablations, seeds=2, steps=20)
    for file in tmp_path.glob("runs/*/*/samples.jsonl"):
        rows = [json.loads(line) | {"prompt": wrote, "completion": wrote} for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "plan.md").write_text("the plan\n")
    aggregate.write(runs, tmp_path / "made/summary", synthetic.experiment(ablations), tmp_path / "plan.md")
    given = {"experiment": "made", "results": str(tmp_path), "baseline": "baseline"}
    copy, made = tmp_path / "made/report/reasoning.ipynb", tmp_path / "made/report/reasoning.html"
    page = tmp_path / "docs/report/made/reasoning.html"
    pages.execute(NOTEBOOKS / "reasoning.ipynb", copy, made, given, tmp_path / "logs/reasoning.ipynb")
    outputs = [output.data for cell in nbformat.read(copy, as_version=4).cells for output in cell.get("outputs", [])]
    tables = "".join(data.get("text/html", "") for data in outputs)
    publish(
        tmp_path / "made", tmp_path / "docs", ["reasoning"]
    )  # what is kept with the repository is the page as it is
    for shown in (page.read_text(encoding="utf-8"), tables):
        tags = Tags(shown)
        assert "table" in {tag for tag, _ in tags.found}
        assert not {"script", "iframe"} & {tag for tag, _ in tags.found}
        given_values = [(name, value or "") for _, attributes in tags.found for name, value in attributes.items()]
        assert not [name for name, _ in given_values if name.startswith("on")]
        assert not [value for _, value in given_values if "javascript:" in value or value == "x" or "alert" in value]
        assert shown.count("&lt;script src=") > 2 * len(ablations)


def test_figures_have_alternative_text(executed):
    tags = Tags((executed / "out/page.html").read_text(encoding="utf-8"))
    assert [attributes["alt"] for tag, attributes in tags.found if tag == "img"] == ['a rising "line"']


def test_the_copy_keeps_no_paths_and_no_times(executed):
    text = (executed / "out/page.ipynb").read_text(encoding="utf-8")
    assert str(executed) not in text
    metadata = [json.loads(text)["metadata"], *(cell["metadata"] for cell in json.loads(text)["cells"])]
    assert not {"papermill", "execution"} & {key for entry in metadata for key in entry}


def test_a_failing_cell_keeps_its_traceback_in_the_log_and_writes_nothing_else(tmp_path):
    source = notebook(tmp_path / "page.ipynb", "print('before')", "1 / 0", "print('after')")
    out, log = tmp_path / "out", tmp_path / "logs/page.ipynb"
    with pytest.raises(RuntimeError) as error:
        pages.execute(source, out / "page.ipynb", out / "page.html", {}, log)
    assert str(error.value).count("\n") == 0
    assert str(source) in str(error.value)
    assert "ZeroDivisionError: division by zero" in str(error.value)
    assert str(log) in str(error.value)
    assert not out.exists()
    outputs = [output for cell in nbformat.read(log, as_version=4).cells for output in cell.get("outputs", [])]
    assert "before\n" in [output.get("text") for output in outputs]
    assert any("ZeroDivisionError" in "".join(output.get("traceback", [])) for output in outputs)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_stripped_and_parameterised_and_link_to_pages_that_exist(path):
    found = nbformat.read(path, as_version=4)
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert code[0].metadata.tags == ["parameters"]
    assert found.metadata.kernelspec.name == "python3"
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    for cell in code:
        compile(cell.source, path.name, "exec")
    links = {link for cell in found.cells for link in re.findall(r"\]\(([^)]*)\)", cell.source)}
    pages = {f"{other.stem}.html" for other in NOTEBOOKS.glob("*.ipynb")}
    lines = [line for cell in found.cells for line in cell.source.splitlines() if line.startswith("##")]
    headings = {"#" + line.strip("# ").replace(" ", "-") for line in lines}
    assert links <= pages | headings


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_no_cell_of_a_table_can_open_a_tag(text):
    shown = display.table(pd.DataFrame({text: [text], "prompt": [text]})).data
    assert set(re.findall(r"<(/?\w+)", shown)) <= {
        *("table", "thead", "tbody", "tr", "th", "td", "br", "span"),
        *("/table", "/thead", "/tbody", "/tr", "/th", "/td", "/span"),
    }


def test_table_formats_numbers_and_shows_missing_ones_as_a_dash():
    frame = pd.DataFrame({"x": [0.123456, math.nan], "n": [1, 2], "agrees": [True, False]})
    shown = display.table(frame, {"x": ".2f"}).data
    assert re.findall(r"<td >(?:<span[^>]*>)?([^<]*)<", shown) == ["0.12", "1", "yes", "–", "2", "no"]
    assert re.findall(r'<span class="number">([^<]*)<', shown) == ["x", "n", "0.12", "1", "–", "2"]


def test_equal_tables_are_equal_bytes_without_ids_and_styles():
    frame = pd.DataFrame({"claim": ["C1"], "verdict": ["supported"]})
    shown = display.table(frame).data
    assert shown == display.table(frame.copy()).data
    assert not {"style", "script"} & {tag for tag, _ in Tags(shown).found}
    assert not {"id", "style"} & {name for _, attributes in Tags(shown).found for name in attributes}


def test_two_columns_may_have_the_same_heading():
    shown = display.table(pd.DataFrame({"a_low": [1], "b_low": [2]}), headings={"a_low": "low", "b_low": "low"}).data
    assert re.findall(r">([^<\s]+)<", shown) == ["low", "low", "1", "2"]


def test_a_long_table_is_folded_unless_it_is_what_the_page_is_for():
    frame = pd.DataFrame({"scheme": ["linear"] * (display.MOST_ROWS + 1)})
    folded = display.table(frame).data
    assert folded.startswith("<details><summary>Table of 17 rows</summary>") and "GRPO (z-score)" in folded
    assert "<details>" not in display.table(frame[1:]).data + display.table(frame, folds=False).data


@pytest.mark.parametrize("value", [[HOSTILE], {HOSTILE: 1}, Path(HOSTILE)])
def test_a_cell_of_any_type_is_escaped(value):
    assert "<script" not in display.table(pd.DataFrame({"x": [value]}, dtype=object)).data


def test_each_condition_has_its_own_verdicts_under_its_name(monkeypatch):
    shown = []
    monkeypatch.setattr(conditions, "display", lambda *parts: shown.extend(part.data for part in parts))
    frame = pd.DataFrame(
        [("trap", "C1", "Yes.", 3), ("trap", "C2", "?", 0), ("room", "C1", "No.", 3)],
        columns=["condition", "claim", "plain", "seeds"],
    )
    conditions.verdicts(frame, ["claim", "plain"])
    assert [shown[0], shown[2]] == ["<h3>trap</h3>", "<h3>room</h3>"] and len(shown) == 4
    assert "Yes." in shown[1] and "C2" in shown[1] and "No." in shown[3] and "Not tested" not in shown[3]
    shown.clear()
    conditions.verdicts(frame[:1].assign(condition=math.nan), ["claim", "plain"])
    assert len(shown) == 1 and "Yes." in shown[0]


def test_claims_that_were_not_tested_stand_in_one_line_below_the_others():
    frame = pd.DataFrame({"claim": ["C1", "C2", "<C3>"], "plain": ["Yes.", "Not tried.", "No."], "seeds": [3, 0, 0]})
    shown = display.verdicts(frame, ["claim", "plain"]).data
    assert re.findall(r"<td >([^<]*)</td>", shown) == ["C1", "Yes."]
    assert shown.endswith("<p>Not tested in this experiment: C2; &lt;C3&gt;.</p>")
    assert "Not tested" not in display.verdicts(frame[:1], ["claim"]).data
    needs = display.verdicts(frame.assign(sentence=["Yes.", "Needs <a>.", "Needs <a>."]), ["claim", "sentence"]).data
    assert needs.count("<p>") == 1
    assert needs.endswith("<p>Needs &lt;a&gt;. Claims: C2; &lt;C3&gt;.</p>")


def test_an_empty_table_says_what_is_missing():
    assert "no pairs" in display.table(pd.DataFrame(columns=["x"]), empty="no pairs").data


def sample(ablation, puzzle, completion, correct, **counted):
    row = {"ablation": ablation, "seed": 0, "step": 70, "puzzle": puzzle, "prompt": f"[1,2]={puzzle}:<think>"}
    return row | {"completion": completion, "correct": correct} | counted


ABLATIONS = pd.DataFrame(
    {
        "ablation": ["a", "linear", "soft", "other", "dr", "rate"],
        "weighting": ["raft", "linear", "softmax τ=0.5", "maxrl", "dr grpo", "linear"],
        "setting": [None, None, None, None, None, "learning_rate 0.1"],
        "baseline": "linear",
        "planned": [False, True, True, True, True, False],
    }
)


def test_few_ablations_are_read_the_baseline_first():
    assert samples.chosen(ABLATIONS, "linear") == ["linear", "soft", "dr", "other"]
    assert samples.chosen(ABLATIONS[ABLATIONS["ablation"].isin(["a", "linear"])], "linear") == ["linear", "a"]


def test_samples_stand_side_by_side_in_the_given_order_and_escaped():
    rows = [sample("a", 0, HOSTILE, False), sample("linear", 0, "1+2", True), sample("a", 1, "2+2", True)]
    shown = samples.cards(pd.DataFrame(rows), ABLATIONS, ["linear", "a"]).data
    assert re.findall(r"<article><p><b>(.*?)</b>", shown) == ["GRPO (z-score)", "RAFT", "RAFT"]
    assert "<script" not in shown
    assert "&lt;script src=" in shown
    assert shown.count("✓ right") == 2
    assert shown.count('class="puzzle"') == 2
    assert "After step 70, seed 0." in shown and "equations" not in shown


def test_samples_tell_how_much_of_the_arithmetic_holds():
    rows = [
        sample("a", 0, "1+2=4no\n1+2=3yes", True, right=1, written=2),
        sample("a", 1, "", False, right=0, written=0),
    ]
    shown = samples.cards(pd.DataFrame(rows), ABLATIONS, ["a"]).data
    assert shown.count("equations hold") == 1 and "✓ right</span>, 1 of 2 equations hold" in shown


def test_behaviors_have_their_interval_at_the_last_step_that_has_them():
    figures = [
        ("a", 0, "attempts", 1.0, math.nan, math.nan, 1),
        ("a", 10, "attempts", 1.5, 1.25, 1.75, 3),
        ("a", 0, "arithmetic", 0.5, 0.25, 0.75, 3),
        ("a", 10, "arithmetic", math.nan, math.nan, math.nan, 0),
        ("b", 10, "attempts", 2.0, math.nan, math.nan, 1),
        ("a", 10, "says_check", 0.0, 0.0, 0.0, 3),
    ]
    frame = pd.DataFrame(figures, columns=["ablation", "step", "measure", "mean", "low", "high", "seeds"])
    shown = display.behaviors(frame).data.replace("\xa0", " ")
    headings = re.findall(r"<th >([^<]*)</th>", shown)
    assert headings == [
        "ablation",
        "equations tried per answer, step 10",
        "share of the written equations that are right, step 0",
    ]
    cells = re.findall(r"<td >([^<]*)</td>", shown)
    assert cells == ["a", "1.50 [1.25, 1.75]", "50.0 % [25.0, 75.0]", "b", "2.00 [no interval]", "–"]


def test_interval_has_its_unit_and_says_when_there_is_none():
    frame = pd.DataFrame(
        {
            "effect": [4.96, 0.5, 0.5, math.nan],
            "low": [-0.1, -0.111, math.nan, math.nan],
            "high": [1.1, 1.1, math.nan, 1],
            "unit": ["points", "nats a token", math.nan, math.nan],
        }
    )
    assert display.interval(frame).tolist() == [
        "+5.0\xa0[\u22120.1,\xa0+1.1] points",
        "+0.5\xa0[\u22120.111,\xa0+1.1] nats a token",
        "+0.5\xa0[no\xa0interval]",
        "–",
    ]


def test_verdicts_by_experiment_have_a_dash_where_a_claim_was_not_tested():
    rows = [("C1", "one", "supported", 3), ("C1", "two", "contradicted", 3), ("C2", "one", "not resolved", 0)]
    frame = pd.DataFrame(rows, columns=["claim", "experiment", "verdict", "seeds"])
    frame = frame.assign(condition=None, statement="said", effect=1.0, low=0.5, high=1.5, unit="points")
    text = display.by_experiment(frame).data
    assert re.findall(r"<th >([^<]*)</th>", text) == ["claim", "statement", "one", "two"]
    assert '<span class="supported">supported</span><br>+1.0' in text
    assert text.count("<td >–</td>") == 2
