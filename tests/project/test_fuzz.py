"""What reads input, on inputs that hypothesis makes: a few of those that `benchmarks/fuzz.py` tries by the million."""

from fractions import Fraction
from pathlib import Path
from random import Random
from types import SimpleNamespace

import fuzz
import oracles
import properties
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softmax_rewards.common import plugins
from softmax_rewards.data.tasks import _expressions, countdown

TARGETS = properties.targets()
VERIFIERS = [name for name in TARGETS if name.startswith("verifier ")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Name → target, each made once."""
    found = {}

    def make(name):
        if name not in found:
            found[name] = TARGETS[name](tmp_path_factory.mktemp("fuzz"))
        return found[name]

    return make


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_read_or_refused_in_one_line(made, name):
    target = made(name)

    @settings(deadline=None, derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def holds(seed):
        target.check(target.make(Random(seed)))

    holds()


@pytest.mark.parametrize("name", VERIFIERS)
def test_any_text_is_judged_as_the_independent_reading_judges_it(made, name):
    target = made(name)

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.text() | st.builds("{}</think>\n<answer>{}</answer>{}".format, st.text(), st.text(), st.just("")))
    def holds(text):
        target.check(text)

    holds()


@pytest.mark.parametrize(
    "name", ["config", *(name for name in TARGETS if name.startswith("table ") or name == "dataset")]
)
def test_any_bytes_are_refused_or_read(made, name):
    target = made(name)

    @settings(deadline=None, derandomize=True, max_examples=50)
    @given(st.binary())
    def holds(data):
        target.check(data)

    holds()


def test_every_task_is_tried():
    assert [name.removeprefix("verifier ") for name in VERIFIERS] == plugins.names(plugins.TASKS)


@pytest.mark.parametrize("name", oracles.ORACLES)
def test_the_independent_reading_finds_right_answers_among_the_inputs(made, name):
    """Else it would agree with a verifier that pays nothing."""
    target, row = made(f"verifier {name}"), properties.ROWS[name]
    right = [oracles.is_right(name, target.make(Random(seed)), row) for seed in range(300)]
    assert right.count(True) >= 15 and right.count(False) >= 15


def test_a_verifier_that_forgets_the_numbers_is_found(made, monkeypatch):
    monkeypatch.setattr(countdown, "_right", lambda answer, row: _expressions.parse(answer or ""))
    with pytest.raises(AssertionError, match="correct differs from the independent reading"):
        for seed in range(100):
            target = made("verifier countdown")
            target.check(target.make(Random(seed)))


@pytest.mark.parametrize(
    ("answer", "value"),
    [("1,234", 1234), ("-$3.50", -3.5), ("$-3", -3), ("3/4", 0.75), (".5", 0.5), ("18.", 18), ("007", 7)],
)
def test_the_independent_reading_of_numbers(answer, value):
    assert oracles.number_is_right(answer, Fraction(value))
    for wrong in ("1,23", "12,34,567", "--1", "1.", "1/0", "", ".", "$", "1 2", "\u0661"):
        assert not oracles.number_is_right(wrong, Fraction(0))


def test_an_act_of_reading_would_be_seen(tmp_path):
    watch = properties.acts()
    for act in (lambda: exec("1"), lambda: (tmp_path / "made").touch(), lambda: (tmp_path / "made").write_text("x")):
        watch.seen.clear()
        watch.open = True
        act()
        watch.open = False
        assert watch.seen


def test_a_finding_goes_by_its_origin(tmp_path):
    with pytest.raises(ValueError) as caught:
        properties.table_files.files(tmp_path / "gone.csv")
    assert fuzz.origin(caught.value) == "ValueError in table_files.files"
    assert fuzz.origin(AssertionError("not one line")) == "AssertionError in properties not one line"


def test_a_process_that_dies_is_a_finding_and_the_next_goes_on_behind_it(monkeypatch):
    begun = []

    def process(command, **_):
        begun.append(int(command[-3]))
        if begun[-1] < 20:
            Path(command[-1], "at").write_text(f"{begun[-1] + 6:12d}")
            return SimpleNamespace(returncode=-11, stdout="", stderr="")
        return SimpleNamespace(returncode=0, stdout='{"OSError in x": {"times": 3}}\n', stderr="")

    monkeypatch.setattr(fuzz.subprocess, "run", process)
    result = fuzz.run("config", 100)
    assert begun == [0, 7, 14, 21]
    assert result["inputs"] == 100
    numbers = [found.get("number") for found in result["findings"].values()]
    assert numbers == [6, 13, 20, None]
