"""The generated documentation: the README's tables and the schema of experiment files."""

import json

import pytest
import yaml
from test_experiments import WRONG

from softmax_rewards.common import plugins
from softmax_rewards.config import documentation, schema, strict

FILES = sorted((documentation.ROOT / "config/experiments").glob("*.yaml"))


def test_the_files_are_what_is_generated():
    for name, text in documentation.generated().items():
        path = documentation.ROOT / name
        assert path.read_text(encoding="utf-8") == text, f"{name}: run `softmax-rewards generate-docs`"


@pytest.fixture
def plugged(monkeypatch):
    """The task `gsm8k` and the source `random` have other names as well: `sums` and `dice`."""
    names, load = plugins.names, plugins.load
    others = {plugins.TASKS: ("sums", "gsm8k"), plugins.SOURCES: ("dice", "random")}
    monkeypatch.setattr(plugins, "names", lambda package: [*names(package), *others.get(package, ())[:1]])
    monkeypatch.setattr(
        plugins, "load", lambda package, name, *kind: load(package, dict(others.values()).get(name, name), *kind)
    )


def test_a_new_plugin_has_its_table_and_its_schema_by_itself(plugged):
    before = documentation.ROOT / documentation.README
    text = documentation.fill(before.read_text(encoding="utf-8"))
    for heading, key in (("## `task`: `sums`", "format_reward"), ("## `model`: `dice`", "shape")):
        assert f"| `{key}` |" in text.split(heading)[1].split("\n## ")[0]
    assert documentation.fill(text) == text
    kinds = [json.dumps(schema.experiment_file()["properties"][section]) for section in ("task", "model")]
    assert '{"const": "sums"}' in kinds[0] and '{"const": "dice"}' in kinds[1]


def test_every_key_is_described():
    for name, keys in documentation.tables().items():
        for row in keys.splitlines()[2:]:
            assert len(row.split(" | ")[1]) > 10, f"{name}: {row}"


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema.experiment_file())
    return jsonschema.Draft202012Validator(schema.experiment_file())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_experiments_fit_the_schema_which_they_name(validator, file):
    validator.validate(strict.read(file))
    name = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / name).resolve() == documentation.ROOT / documentation.SCHEMA


# What the schema cannot say: rules across keys, and keys that a file which extends another one may leave out.
ACROSS = {
    "no scheme", "no tau", "tau not a number", "two teachers", "a target beside imitation", "infinite",
    "a penalty on answers that nobody sampled", "imitation with a ratio", "more puzzles than there are", "no ablations",
    "unknown baseline", "unknown primary", "baseline in the family", "a negative seed",
    "coverage between two evaluations",
    "a warm-up over all steps", "rounding in float32", "rounding beside masters on the host",
    "rounding of several GPUs",
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(WRONG.keys() - ACROSS))
def test_the_schema_refuses_what_one_key_has_wrong(validator, case):
    assert not validator.is_valid(WRONG[case][0])


def test_the_schema_takes_every_form_of_tau(validator):
    schedule = {"from": 1, "to": 0.5, "steps": 3}
    for tau in (0.5, "auto", {"auto": 0.25}, schedule, schedule | {"shape": "cosine"}):
        spec = {"weighting": {"scheme": "softmax", "tau": tau}}
        assert validator.is_valid({"extends": "countdown-mini", "ablations": {"a": spec, "b": None}})
    for tau in (0, "atuo", {"auto": 0}, {"from": 1, "too": 2}):
        spec = {"weighting": {"scheme": "softmax", "tau": tau}}
        assert not validator.is_valid({"extends": "countdown-mini", "ablations": {"a": spec}})


def test_defaults_in_the_tables_are_those_of_the_code():
    """What a reader copies from a table changes nothing."""
    for name in plugins.names(plugins.TASKS):
        rows = [row.strip("| ").split(" | ") for row in documentation.tables()[f"task {name}"].splitlines()[2:]]
        written = {row[0].strip("`"): yaml.safe_load(row[-1].strip("`")) for row in rows}
        assert plugins.load(plugins.TASKS, name).Options(**written) == plugins.load(plugins.TASKS, name).Options()
