"""Configuration: what is accepted, how it is resolved, and that every mistake is refused in one line."""

import dataclasses
import json
import os
import stat
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from softmax_rewards import weighting
from softmax_rewards.common import plugins
from softmax_rewards.common.options import Listed, option_class
from softmax_rewards.config import experiments, renamed, strict
from softmax_rewards.config import settings as project_settings
from softmax_rewards.config.experiments import ConfigError
from softmax_rewards.models.warm_start import WarmStart

ROOT = Path(__file__).parents[2]
MINIMAL = {
    "task": {"name": "countdown"},
    "model": {"source": "mini"},
    "seeds": [0],
    "ablations": {"baseline": {"weighting": {"scheme": "linear"}}},
}


def write(folder: Path, values: dict | str, name: str = "trial") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def changed(**changes: object) -> dict:
    """MINIMAL with dotted keys (written with __) set."""
    values = json.loads(json.dumps(MINIMAL))
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return values


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        experiments.load(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_of_the_repository_loads(path):
    experiment = experiments.load(path)
    assert experiment.name == path.stem
    assert len({run.to_json() for run in experiment.runs()}) == len(experiment.runs())


def test_defaults_are_filled_in(tmp_path):
    run = experiments.load(write(tmp_path, MINIMAL)).run("baseline", 0)
    task = plugins.load(plugins.TASKS, "countdown").Options()
    assert run.task == {"name": "countdown", **dataclasses.asdict(task)}
    assert run.training == experiments.Training()
    assert run.weighting == {"scheme": "linear"}


def test_a_run_survives_json(tmp_path):
    experiment = experiments.load(ROOT / "config/experiments/countdown-mini-full.yaml")
    for run in experiment.runs():
        assert experiments.Run.from_json(run.to_json()) == run
        assert run.to_json() == experiments.Run.from_json(run.to_json()).to_json()


def test_an_ablation_changes_training_and_seeds(tmp_path):
    values = changed(training={"steps": 7, "prompts_per_step": 3})
    values["ablations"]["fast"] = {
        "weighting": {"scheme": "softmax", "tau": "auto"},
        "training": {"steps": 5},
        "seeds": [4, 2],
    }
    experiment = experiments.load(write(tmp_path, values))
    assert [(run.ablation, run.seed) for run in experiment.runs()] == [
        ("baseline", 0),
        ("fast", 4),
        ("fast", 2),
    ]
    assert experiment.run("fast", 4).training == experiments.Training(steps=5, prompts_per_step=3)
    assert experiment.run("baseline", 0).training.steps == 7


def test_extends_merges_and_null_takes_away(tmp_path):
    write(tmp_path, changed(training={"steps": 7, "prompts_per_step": 3}, archive="kept"), "parent")
    child = {
        "extends": "parent",
        "training": {"steps": 9},
        "archive": None,
        "baseline": "plain",
        "ablations": {"baseline": None, "plain": {"weighting": {"scheme": "uniform"}}},
    }
    experiment = experiments.load(write(tmp_path, child, "child"))
    assert (experiment.training.steps, experiment.training.prompts_per_step, experiment.archive) == (9, 3, None)
    assert list(experiment.ablations) == ["plain"]


def test_a_mistake_in_the_parent_names_the_parent(tmp_path):
    parent = write(tmp_path, changed(training={"steps": 0}), "parent")
    with pytest.raises(ConfigError, match=r"training\.steps: 0") as error:
        experiments.load(write(tmp_path, {"extends": "parent"}, "child"))
    assert str(parent) in str(error.value)


def test_extends_goes_on_to_the_last_file_which_must_be_there(tmp_path):
    write(tmp_path, MINIMAL, "first")
    write(tmp_path, {"extends": "first", "training": {"steps": 7, "prompts_per_step": 3}}, "second")
    third = experiments.load(write(tmp_path, {"extends": "second", "training": {"prompts_per_step": 5}}, "third"))
    assert (third.training.steps, third.training.prompts_per_step) == (7, 5)
    assert "nearest: 'first'" in refusal(write(tmp_path, {"extends": "frist"}, "third"))
    second = write(tmp_path, {"extends": "frist"}, "second")
    assert refusal(write(tmp_path, {"extends": "second"}, "third")).startswith(f"{second}: extends: unknown")


def test_files_that_extend_each_other_are_refused(tmp_path):
    write(tmp_path, {"extends": "third"}, "first")
    write(tmp_path, {"extends": "first"}, "second")
    path = write(tmp_path, {"extends": "second"}, "third")
    assert "third → second → first → third goes round in a circle" in refusal(path)
    itself = write(tmp_path, {"extends": "alone"}, "alone")
    assert "alone → alone" in refusal(itself)


def test_a_file_anywhere_extends_an_experiment_of_the_project(tmp_path):
    """A file beside it comes first; a copy may have the name of the experiment that it extends."""
    own = experiments.load(ROOT / "config/experiments/countdown-mini.yaml")
    for name in ("countdown-mini", "other"):
        path = write(tmp_path, {"extends": "countdown-mini", "training": {"steps": 7}, "seeds": [5]}, name)
        changed = experiments.load(path)
        assert (changed.name, changed.training.steps, changed.seeds) == (name, 7, (5,))
        assert (changed.model, list(changed.ablations)) == (own.model, list(own.ablations))
        if name == "countdown-mini":
            path.unlink()
    write(tmp_path, MINIMAL, "countdown-mini")
    assert list(experiments.load(tmp_path / "other.yaml").ablations) == ["baseline"]
    write(tmp_path, {"extends": "countdown-mini", "seeds": [3]}, "countdown-mini")
    assert experiments.load(tmp_path / "other.yaml").model == own.model


def test_the_projects_experiments_are_those_of_the_working_directory(tmp_path, monkeypatch):
    folder = tmp_path / "config/experiments"
    folder.mkdir(parents=True)
    write(folder, MINIMAL, "first")
    path = write(tmp_path, {"extends": "first"}, "mine")
    assert refusal(path).startswith("extends: unknown experiment 'first'; allowed: countdown-mini, ")
    monkeypatch.chdir(tmp_path)
    assert experiments.load(path).seeds == (0,)
    assert project_settings.load({"experiments": ["mine.yaml", "first"]}, "c.yaml")[1].keys() == {"mine", "first"}
    write(folder, {"extends": "first"}, "first")
    assert "mine → first → first goes round in a circle" in refusal(path)


def test_an_unknown_name_lists_both_places(tmp_path):
    write(tmp_path, MINIMAL, "aside")
    message = refusal(write(tmp_path, {"extends": "countdwn-mini"}, "countdown-mini"))
    assert message.startswith(
        "extends: unknown experiment 'countdwn-mini' (nearest: 'countdown-mini'); allowed: aside, "
    )


@pytest.mark.parametrize("name", ["../first", "x" * 300, "a\0b", ["first"], {"a": "first"}, 3])
def test_a_name_is_extended_and_no_path(tmp_path, name):
    (tmp_path / "below").mkdir()
    write(tmp_path, MINIMAL, "first")
    message = refusal(write(tmp_path / "below", {"extends": name}))
    assert message.startswith("extends: unknown experiment")


@pytest.mark.parametrize(
    "text", ["task: &a [*a]", "task: &a {name: *a}", "task: " + "{a: " * 1500, "seeds: " + "[" * 500]
)
def test_what_is_nested_without_end_is_refused(tmp_path, text):
    assert refusal(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]", "not YAML: found unconstructable recursive node in"),
        ("a: &a {b: [1, {c: *a}]}", "not YAML: found unconstructable recursive node in"),
        ("a: {b: {? [1] : 1}}", "a.b.a sequence: the key is not text; allowed: text (quote it)"),
        ("a: " + "[" * 10_000, "nested too deeply; allowed: a few levels"),
        ("[" * 10_000 + "]" * 10_000, "nested too deeply; allowed: a few levels"),
        ("- " * 5_000, "nested too deeply; allowed: a few levels"),
    ],
)
def test_a_value_without_end_and_other_keys_than_text_are_refused(text, said):
    with pytest.raises(ConfigError) as error:
        strict.value(text, "set")
    message = str(error.value)
    assert said in message and "\n" not in message and len(message) < 300


def test_an_alias_stands_for_its_value():
    assert strict.value("{a: &a [1, 2], b: [*a, *a]}", "set") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_a_file_has_a_largest_size(tmp_path):
    path = write(tmp_path, yaml.safe_dump(MINIMAL) + "#" * strict.LARGEST)
    assert refusal(path) == f"{path.stat().st_size} bytes; allowed: 1000000, more than any experiment needs"
    path.write_text(path.read_text()[: strict.LARGEST])
    assert experiments.load(path).seeds == (0,)


def test_a_long_value_is_shown_in_part():
    with pytest.raises(ConfigError, match=r"results: .* is not allowed; allowed: text") as error:
        project_settings.load({"experiments": ["x"], "results": ["x"] * 1000}, "c.yaml")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch made']",
        "!!python/object/new:os.system ['touch made']",
        "!!python/object/apply:subprocess.Popen [['touch', 'made']]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!int ''",
        "!!float ''",
        "!!bool maybe",
        "!!timestamp soon",
        "!!omap 3",
        "!made up",
    ],
)
def test_a_tag_runs_nothing_and_is_refused_in_one_line(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    assert "not YAML: " in refusal(write(tmp_path, f"seeds: {tag}\n"))
    assert not Path("made").exists()


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_hyperparameters_are_finite(tmp_path, number):
    for key, allowed in (("scheme: power, q", "a finite number"), ("scheme: passk, k", "a whole number")):
        text = f"{{ablations: {{baseline: {{weighting: {{{key}: {number}}}}}}}, "
        text += "task: {name: countdown}, model: {source: mini}, seeds: [0]}"
        assert f"allowed: {allowed}" in refusal(write(tmp_path, text))


@pytest.mark.parametrize("text", ["4e-4", "4.0e-4", "0.0004", "4E-04", "4.e-4"])
def test_numbers_in_scientific_notation_are_numbers(tmp_path, text):
    path = write(tmp_path, yaml.safe_dump(MINIMAL) + f"training: {{learning_rate: {text}}}\n")
    assert experiments.load(path).training.learning_rate == 4e-4


WRONG = {
    "unknown key": (changed(trianing={}), ["trianing: unknown key", "nearest: 'training'"]),
    "unknown training key": (changed(training={"step": 3}), ["training.step: unknown key", "'steps'"]),
    "unknown scheme": (
        changed(ablations__a={"weighting": {"scheme": "sofmax"}}),
        ["ablations.a.weighting.scheme: unknown scheme 'sofmax'", "nearest: 'softmax'"],
    ),
    "unknown task": (changed(task={"name": "countdwn"}), ["task.name: unknown task", "'countdown'"]),
    "unknown source": (changed(model={"source": "min"}), ["model.source: unknown model source", "'mini'"]),
    "unknown task option": (changed(task__number=3), ["task.number: unknown key", "'numbers'"]),
    "unknown source option": (changed(model__layer=3), ["model.layer: unknown key", "'layers'"]),
    "wrong task option": (changed(task__numbers=99), ["task.numbers", "99"]),
    "wrong type of a task option": (changed(task__numbers="three"), ['task.numbers: "three"', "an integer"]),
    "no scheme": (
        changed(ablations__a={"weighting": {"tau": 1.0}}),
        ["ablations.a.weighting.scheme: missing"],
    ),
    "no tau": (
        changed(ablations__a={"weighting": {"scheme": "softmax"}}),
        ["ablations.a.weighting.tau: missing"],
    ),
    "tau 0": (
        changed(ablations__a={"weighting": {"scheme": "softmax", "tau": 0}}),
        ["ablations.a.weighting.tau", "0", "above 0"],
    ),
    "tau below 0": (changed(ablations__a={"weighting": {"scheme": "softmax", "tau": -0.5}}), ["tau", "-0.5"]),
    "tau not a number": (
        changed(ablations__a={"weighting": {"scheme": "softmax", "tau": float("nan")}}),
        ["NaN"],
    ),
    "tau text": (changed(ablations__a={"weighting": {"scheme": "softmax", "tau": "0.5"}}), ["tau", '"0.5"']),
    "unknown hyperparameter": (
        changed(ablations__a={"weighting": {"scheme": "softmax", "tau": 1, "taus": 2}}),
        ["ablations.a.weighting.taus: unknown hyperparameter of softmax", "'tau'"],
    ),
    "hyperparameter of another scheme": (
        changed(ablations__baseline={"weighting": {"scheme": "linear", "tau": 1.0}}),
        ["ablations.baseline.weighting.tau: unknown hyperparameter of linear"],
    ),
    "no seeds": (changed(seeds=[]), ["seeds: []", "at least one"]),
    "a seed twice": (changed(seeds=[1, 2, 1]), ["seeds: [1, 2, 1]", "each once"]),
    "a negative seed": (changed(seeds=[-1]), ["seeds: [-1]", "from 0 on"]),
    "a seed that is no integer": (changed(seeds=[1.5]), ["seeds[0]: 1.5", "an integer"]),
    "an ablation's empty seeds": (
        changed(ablations__baseline__seeds=[]),
        ["ablations.baseline.seeds: []", "at least one"],
    ),
    "a penalty below 0": (changed(training={"kl_coef": -0.1}), ["training.kl_coef: -0.1", "at least 0"]),
    "an unknown place for the reference": (
        changed(training={"kl_reference": "gpu"}),
        ["training.kl_reference", "gpu", "device, host"],
    ),
    "imitation below 0": (changed(training={"imitation": -1.0}), ["training.imitation: -1.0", "null for none"]),
    "a smoothing of 1": (changed(training={"target_smoothing": 1.0}), ["training.target_smoothing: 1.0", "below 1"]),
    "two teachers": (
        changed(training={"injection": 1.0, "imitation": 0.5}),
        ["training.imitation: 0.5", "null beside training.injection"],
    ),
    "a target beside imitation": (
        changed(training={"imitation": 0.5, "target": 0.1}),
        ["training.target: 0.1", "null beside training.imitation"],
    ),
    "a penalty on answers that nobody sampled": (
        changed(training={"injection": 1.0, "kl_coef": 0.1}),
        ["training.kl_coef: 0.1", "0 beside training.injection"],
    ),
    "imitation with a ratio": (
        changed(training={"imitation": 0.5, "updates_per_batch": 2}),
        ["training.updates_per_batch: 2", "1 beside training.imitation"],
    ),
    "a warm-up over all steps": (
        changed(training={"steps": 5, "lr_warmup_steps": 5}),
        ["training.lr_warmup_steps: 5", "below training.steps (5)"],
    ),
    "an unknown decay": (changed(training={"lr_decay": "step"}), ["training.lr_decay", "constant, linear, cosine"]),
    "a temperature of 0": (changed(training={"temperature": 0.0}), ["training.temperature: 0.0", "above 0"]),
    "a top-p of 0": (changed(training={"top_p": 0.0}), ["training.top_p: 0.0", "above 0"]),
    "a top-p above 1": (changed(training={"top_p": 1.5}), ["training.top_p: 1.5", "at most 1"]),
    "rounding in float32": (
        changed(training={"rounding": "nearest"}),
        ['training.rounding: "nearest"', "stochastic, or precision: bfloat16 with optimizer_state: device and gpus: 1"],
    ),
    "rounding beside masters on the host": (
        changed(training={"rounding": "nearest", "precision": "bfloat16", "optimizer_state": "host"}),
        ['training.rounding: "nearest"', "optimizer_state: device"],
    ),
    "rounding of several GPUs": (
        changed(training={"rounding": "nearest", "precision": "bfloat16", "gpus": 2, "prompts_per_step": 2}),
        ['training.rounding: "nearest"', "gpus: 1"],
    ),
    "a group of one": (changed(training={"group_size": 1}), ["training.group_size: 1", "at least 2"]),
    "a group of one in an ablation": (
        changed(ablations__baseline__training={"group_size": 1}),
        ["ablations.baseline.training.group_size: 1", "at least 2"],
    ),
    "true for an integer": (changed(training={"steps": True}), ["training.steps: true", "an integer"]),
    "a fraction for an integer": (changed(training={"steps": 1.5}), ["training.steps: 1.5", "an integer"]),
    "text for a number": (
        changed(training={"learning_rate": "fast"}),
        ["training.learning_rate", "a number"],
    ),
    "1 for a switch": (changed(training={"skip_equal": 1}), ["training.skip_equal: 1", "true or false"]),
    "infinite": (changed(training={"max_grad_norm": float("inf")}), ["training.max_grad_norm", "finite"]),
    "unknown choice": (
        changed(training={"loss_aggregation": "tokens"}),
        ["training.loss_aggregation", "token-mean, seq-mean"],
    ),
    "more puzzles than there are": (
        changed(evaluation={"puzzles": 9999}),
        ["evaluation.puzzles: 9999", "task.test"],
    ),
    "coverage between two evaluations": (
        changed(evaluation={"every": 10, "pass_every": 15}),
        ["evaluation.pass_every: 15", "a multiple of evaluation.every (10), or null"],
    ),
    "no ablations": (changed(ablations={}), ["ablations: {}", "at least one"]),
    "an ablation's name": (changed(ablations={"a/b": {}}), ["ablations.a/b", "letters"]),
    "unknown baseline": (changed(baseline="base"), ["baseline: unknown ablation 'base'", "'baseline'"]),
    "unknown primary": (changed(primary=["sofmax"]), ["primary: unknown ablation 'sofmax'"]),
    "baseline in the family": (changed(primary=["baseline"]), ["primary", "not the baseline"]),
    "a list for a section": (changed(training=[1]), ["training: [1]", "a mapping"]),
    "no task": ({key: value for key, value in MINIMAL.items() if key != "task"}, ["task: missing"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_in_one_line(tmp_path, case):
    values, parts = WRONG[case]
    message = refusal(write(tmp_path, values))
    for part in parts:
        assert part in message


def test_a_key_given_twice_is_refused(tmp_path):
    text = "ablations:\n  a: {weighting: {scheme: linear}}\n  b: {}\n  a: {weighting: {scheme: uniform}}\n"
    assert refusal(write(tmp_path, text)) == "ablations.a: given twice (lines 2 and 4); allowed: each key once"


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "just text", "1.0: 2", "a: !!python/object:os.system {}"])
def test_files_that_are_no_mapping_are_refused(tmp_path, text):
    refusal(write(tmp_path, text))


def test_grpo_is_another_name_of_the_scheme_linear(tmp_path):
    values = changed(ablations={"baseline": {"weighting": {"scheme": "grpo"}}})
    experiment = experiments.load(write(tmp_path, values))
    assert experiment.ablations["baseline"].weighting == {"scheme": "linear"}
    assert "grpo" not in weighting.names()


@pytest.mark.parametrize(
    ("where", "old", "new"),
    [(where, old, new) for where, keys in renamed.RENAMED.items() for old, new in keys.items()],
)
def test_an_old_key_is_refused_with_the_new_one(tmp_path, where, old, new):
    section, *below = where.split(".")
    values = changed(**{section: {below[0]: {old: 1}} if below else {old: 1}})
    if below:
        values[section] = {"source": "mini", **values[section]}
    assert refusal(write(tmp_path, values)) == f"{where}.{old}: this key is now {where}.{new}"
    assert {"training": experiments.Training, "model.warm_start": WarmStart}[where].__dataclass_fields__[new]


def test_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, MINIMAL)
    chosen, loaded = project_settings.load({"experiments": [str(path)]}, "c.yaml")
    assert (chosen.results, list(loaded)) == ("results", ["trial"])
    for values, part in [
        ({"experiments": []}, "experiments: []"),
        ({"experiments": ["nothing"]}, "experiments: unknown experiment 'nothing'"),
        ({"experiments": [str(path), str(path)]}, "given twice"),
        ({"experiment": ["x"]}, "experiment: unknown key 'experiment' (nearest: 'experiments')"),
        ({"experiments": [str(path)], "results": str(path)}, f"results: {path} cannot be written"),
        ({"experiments": [str(path)], "results": f"{path}/below"}, "cannot be written"),
        ({"experiments": [str(path)], "results": 3}, "results: 3"),
    ]:
        with pytest.raises(ConfigError) as error:
            project_settings.load(values, "c.yaml")
        assert part in str(error.value)
        assert str(error.value).startswith("c.yaml: ")
    assert not Path("results").exists()  # checking makes nothing


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_without_permission_is_refused(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ConfigError, match="cannot be written"):
        project_settings.load({"experiments": [str(write(tmp_path, MINIMAL))], "results": f"{folder}/r"}, "c.yaml")


@option_class("sample")
class Sample:
    number: int
    rate: float = 0.5
    flag: bool = False
    choice: Literal["a", "b"] = "a"
    parts: Listed[int] = ()
    note: str | None = None


@option_class("start")
class Start:
    steps: int = Field(default=0, ge=0)
    rate: float = 0.1

    @model_validator(mode="after")
    def _check_product(self):
        if self.steps * self.rate > 100:
            raise ValueError("that is too much")
        return self


@option_class("nested")
class Nested:
    """Its own defaults of `Start`, and options that must be given."""

    other: Start
    start: Start = Start(steps=9, rate=0.5)


def test_a_mapping_in_a_mapping_changes_the_fields_own_default():
    assert experiments.build(Nested, {"other": {}}, "here") == Nested(other=Start())
    assert experiments.build(Nested, {"other": {"steps": 3}, "start": {"steps": 2}}, "here") == Nested(
        other=Start(steps=3, rate=0.1), start=Start(steps=2, rate=0.5)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "here.other: missing; it has no default"),
        ({"other": 3}, "here.other: 3 is not allowed; allowed: a mapping of keys"),
        ({"other": None}, "here.other: null is not allowed; allowed: a mapping of keys"),
        (
            {"other": {"step": 1}},
            "here.other.step: unknown key 'step' (nearest: 'steps'); allowed: steps, rate",
        ),
        ({"other": {"steps": "1"}}, 'here.other.steps: "1" is not allowed; allowed: an integer of at least 0'),
        ({"other": {"steps": -1}}, "here.other.steps: -1 is not allowed; allowed: an integer of at least 0"),
        ({"other": {}, "start": {"steps": 999}}, "here.start: that is too much"),
    ],
)
def test_a_mistake_in_a_nested_mapping_names_the_dotted_key(values, message):
    with pytest.raises(ConfigError) as error:
        experiments.build(Nested, values, "here")
    assert str(error.value) == message


VALUES = {
    "number": st.integers(),
    "rate": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6),
    "flag": st.booleans(),
    "choice": st.sampled_from(["a", "b"]),
    "parts": st.lists(st.integers()),
    "note": st.none() | st.text(),
}


@settings(deadline=None, derandomize=True)
@given(st.fixed_dictionaries({}, optional=VALUES).map(lambda values: {"number": 1, **values}))
def test_build_keeps_what_fits(values):
    built = experiments.build(Sample, values, "here")
    for name, value in values.items():
        assert getattr(built, name) == (tuple(value) if name == "parts" else value)
        assert type(getattr(built, name)) is {"rate": float, "parts": tuple}.get(name, type(value))


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(sorted(VALUES)), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_build_refuses_what_does_not_fit_naming_the_key(name, value):
    fits = {
        "number": type(value) is int,
        "rate": type(value) is int or (type(value) is float and abs(value) < float("inf")),
        "flag": type(value) is bool,
        "choice": value in ("a", "b") and type(value) is str,
        "parts": False,
        "note": value is None or type(value) is str,
    }[name]
    values = {"number": 1, name: value}
    if fits:
        experiments.build(Sample, values, "here")
    else:
        with pytest.raises(ConfigError, match=rf"^here\.{name}: "):
            experiments.build(Sample, values, "here")


@pytest.mark.parametrize("name", ["archive", "overview"])
def test_an_experiment_does_not_take_the_place_of_another_folder_of_results(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    path.write_text((ROOT / "config/experiments/countdown-mini.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(experiments.ConfigError, match=rf"{name}\.yaml: the file's name '{name}' is not allowed"):
        experiments.load(path)
