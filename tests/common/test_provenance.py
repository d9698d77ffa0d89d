"""Provenance: what changes a fingerprint, what does not, and what a run's record says."""

import functools
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from softmax_rewards.common import files, plugins, provenance
from softmax_rewards.config import experiments

ROOT = Path(__file__).parents[2]
ONE, TWO = "softmax_rewards.schemes.one", "softmax_rewards.schemes.two"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same name in a folder of its own, and a function that rewrites one of its files."""
    folder = tmp_path / "softmax_rewards"
    monkeypatch.setattr(provenance, "PACKAGE", folder)

    def write(name: str, text: str) -> Path:
        for function in (provenance._fingerprint, provenance.read):
            function.cache_clear()
        path = folder / name if not name.startswith("/") else tmp_path / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    for name in ("__init__.py", "schemes/__init__.py", "deep/__init__.py"):
        write(name, "")
    write("low.py", '"""Low."""\nVALUE = 1\n')
    write("late.py", "LATE = 1\n")
    write("unused.py", "UNUSED = 1\n")
    write("schemes/one.py", "from softmax_rewards.low import VALUE\n")
    write("schemes/two.py", "X = 2\n")
    write("deep/inner.py", "from . import sibling\nfrom ..low import VALUE\n")
    write("deep/sibling.py", "S = 1\n")
    write("top.py", "import softmax_rewards.deep.inner\n\ndef f():\n    from softmax_rewards import late, low\n")
    write("/script.py", "from softmax_rewards import top\nimport os\n\ntop.f()\n")
    yield write
    write("low.py", "")  # so that nothing of this package stays in a cache


def test_closure_follows_static_imports_also_inside_functions(package, tmp_path):
    found = provenance.closure(tmp_path / "script.py")
    expected = ["", ".deep", ".deep.inner", ".deep.sibling", ".late", ".low", ".top"]
    assert list(found) == [f"softmax_rewards{name}" for name in expected]
    named = provenance.closure(tmp_path / "script.py", [ONE])
    assert set(named) - set(found) == {"softmax_rewards.schemes", "softmax_rewards.schemes.one"}


def test_what_changes_a_fingerprint(package, tmp_path):
    script = tmp_path / "script.py"

    def current(*plugins: str) -> str:
        return provenance.fingerprint(script, plugins)

    before, with_one, with_two = current(), current(ONE), current(TWO)
    assert len({before, with_one, with_two}) == 3
    same = {
        "low.py": '"""Another text.\n\nLonger."""\n# a comment\nVALUE   =   1  # here too\n',
        "unused.py": "UNUSED = 2\n",
        "schemes/three.py": "NEW = 1\n",
    }
    for name, text in same.items():
        package(name, text)
        assert (current(), current(ONE), current(TWO)) == (before, with_one, with_two), name
    package("schemes/two.py", "X = 3\n")
    assert (current(), current(ONE)) == (before, with_one)
    assert current(TWO) != with_two
    for name, text in {
        "deep/sibling.py": "S = 2\n",
        "late.py": "LATE = '1'\n",
        "deep/__init__.py": "Z = None\n",
        "/script.py": "from softmax_rewards import top\nimport os\n\ntop.f(1)\n",
    }.items():
        package(name, text)
        assert current() != before, name
        before = current()


def test_the_order_of_plugins_does_not_matter(package, tmp_path):
    both = [provenance.fingerprint(tmp_path / "script.py", p) for p in ([ONE, TWO],) * 2]
    assert both[0] == provenance.fingerprint(tmp_path / "script.py", [TWO, ONE])


def test_an_unknown_plugin_is_an_error(package, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"schemes\.four"):
        provenance.fingerprint(tmp_path / "script.py", ["softmax_rewards.schemes.four"])


def test_a_notebook_is_judged_by_its_code_cells(package, tmp_path):
    def notebook(code: str, text: str) -> str:
        cells = [{"cell_type": "markdown", "source": [text]}, {"cell_type": "code", "source": [code]}]
        return provenance.fingerprint(package("/n.ipynb", json.dumps({"cells": cells})))

    first = notebook("from softmax_rewards import low", "Hello")
    assert first == notebook("from softmax_rewards import low", "Goodbye")
    assert first != notebook("from softmax_rewards import late", "Hello")
    assert "softmax_rewards.late" in provenance.closure(tmp_path / "n.ipynb")


@pytest.fixture(scope="module")
def run():
    return experiments.load(ROOT / "config/experiments/countdown-mini.yaml").run("softmax-0.5", 1).to_dict()


def counted(run, stage="train"):
    """The modules in a stage's fingerprint of a run."""
    entry = provenance.PACKAGE / provenance.ENTRY[stage]
    return provenance.closure(entry, provenance.run_plugins(run)[stage], provenance.counts)


def test_a_run_depends_on_its_scheme_task_and_source_only(run):
    files = counted(run)
    schemes = [name for name in files if name.startswith(f"{plugins.SCHEMES}.") and "._" not in name]
    assert schemes == ["softmax_rewards.weighting.schemes.softmax"]
    linear = {**run, "weighting": {"scheme": "linear"}}
    here, there = provenance.run_code(run), provenance.run_code(linear)
    assert here["train"] != there["train"]
    assert all(here[stage] == there[stage] for stage in here if stage != "train")


def test_the_rooms_that_decide_a_runs_numbers_count_and_no_others(run):
    stages = [counted(run, stage) for stage in provenance.ENTRY]
    modules = {name.removeprefix("softmax_rewards.") for stage in stages for name in stage}
    rooms = {name.split(".")[0] for name in modules}
    assert rooms == {"common", "data", "models", "policy", "training", "weighting"}
    assert {name for name in modules if name.startswith("common.")} == {"common.randomness"}
    assert {name for name in modules if name.startswith("training.")} == {
        "training.base_evaluation", "training.coverage", "training.evaluate", "training.search_counts", "training.step",
        "training.warm_start",
    }  # fmt: skip
    assert not {name for name in modules if name.startswith("weighting.study")}
    # What a step computes is all there.
    policy = {f"policy.{file.stem}" for file in (ROOT / "softmax_rewards/policy").glob("[a-z]*.py")}
    # Only the signal study, which trains nothing, needs score sums.
    assert policy - modules == {"policy.score_sums"}


EXTRA = "\nEXTRA = 1\n"
CHANGES = {
    "a docstring": ("policy/objective.py", '"""The objective', '"""This objective'),
    "an option's description": ("data/tasks/countdown.py", '"Smallest number."', '"The smallest number."'),
    "an error's message": ("policy/objective.py", "training.loss_aggregation: ", "the aggregation: "),
    "a page": ("report/pages.py", "", EXTRA),
    "a verdict": ("verdicts/rules.py", "", EXTRA),
    "the terminal": ("common/terminal.py", "", EXTRA),
    "files": ("common/files.py", "", EXTRA),
    "the status": ("training/status.py", "", EXTRA),
    "the run's folder": ("training/run_folder.py", "", EXTRA),
    "what the loop logs": ("training/trainer.py", "", EXTRA),
    "how configs are read": ("config/experiments.py", "", EXTRA),
    "another scheme": ("weighting/schemes/linear.py", "", EXTRA),
    "another task": ("data/tasks/gsm8k.py", "", EXTRA),
}
DECISIVE = (
    "common/randomness.py",
    "data/dataset.py",
    "data/tasks/countdown.py",
    "data/tasks/_searches.py",
    "models/decoder.py",
    "models/sources/mini.py",
    "policy/objective.py",
    "policy/update.py",
    "training/step.py",
    "training/warm_start.py",
    "weighting/schemes/softmax.py",
    "weighting/temperature.py",
)


@pytest.fixture(scope="module")
def fingerprint_after(run, tmp_path_factory):
    """A function that changes one file of a copy of the library, and gives the run's fingerprint there."""
    folder = tmp_path_factory.mktemp("library") / "softmax_rewards"
    shutil.copytree(provenance.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    caches = (provenance._fingerprint, provenance.read)

    @functools.cache
    def after(name, old="", new=""):
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        changed = text.replace(old, new, 1) if old else text + new
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(provenance, "PACKAGE", folder)
            (folder / name).write_text(changed, encoding="utf-8")
            for cache in caches:
                cache.cache_clear()
            fingerprint = provenance.run_fingerprint(run)
        (folder / name).write_text(text, encoding="utf-8")
        return fingerprint

    yield after
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_decides_no_number_retrains_nothing(fingerprint_after, change):
    assert fingerprint_after(*CHANGES[change]) == fingerprint_after("__init__.py")


@pytest.mark.parametrize("name", DECISIVE)
def test_a_change_that_may_decide_a_number_retrains_the_run(fingerprint_after, name):
    assert fingerprint_after(name, "", EXTRA) != fingerprint_after("__init__.py")


def test_a_runs_fingerprint_covers_every_setting(run):
    prints = {
        provenance.run_fingerprint(changed)
        for changed in (
            run,
            {**run, "seed": 2},
            {**run, "training": {**run["training"], "learning_rate": 1e-5}},
            {**run, "weighting": {**run["weighting"], "tau": 0.25}},
            {**run, "model": {**run["model"], "layers": 1}},
        )
    }
    assert len(prints) == 5


def test_the_record_of_a_run(run):
    record = json.loads(json.dumps(provenance.run_record(run, data="d", base="b", device="cpu")))
    assert record["config"] == run
    assert record["fingerprint"] == provenance.run_fingerprint(run)
    assert (record["ablation"], record["seed"], record["data"], record["base"]) == (
        "softmax-0.5",
        1,
        "d",
        "b",
    )
    assert {"python", "torch", "numpy"} <= set(record["versions"])


def test_the_hashes_of_plan_and_predictions(tmp_path):
    plan, predictions = tmp_path / "plan.md", tmp_path / "predictions.json"
    plan.write_text("the plan\n")
    expected = hashlib.sha256(b"the plan\n").hexdigest()
    assert provenance.plan_hashes(plan, predictions) == {"plan": expected, "predictions": None}
    predictions.write_text("{}")
    assert provenance.plan_hashes(plan, predictions)["predictions"] == hashlib.sha256(b"{}").hexdigest()


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "link"])
def test_a_manifest_vouches_for_files_of_its_folder_only(tmp_path, name):
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=rf"{name}.* (leads out of|is damaged)"):
        files.verify(folder, {name: files.sha256(tmp_path / "outside")})
