"""The page of all runs: short, whole in a file, cut in a terminal, and never broken by what it shows."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from softmax_rewards.config import experiments
from softmax_rewards.training import plan, status
from softmax_rewards.training.state import FILE, RunState

SMOKE = experiments.load(Path(__file__).parents[1] / "smoke" / "smoke.yaml")


def text(drawn):
    """What a terminal or file would get, without blanks at the ends of lines."""
    console = Console(width=status.WIDE, highlight=False)
    with console.capture() as capture:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in capture.get().split("\n")).strip("\n")


@pytest.fixture
def experiment(tmp_path):
    """A started experiment: four runs of the smoke experiment, of which none has begun."""
    folder = tmp_path / "results" / "smoke"
    names = [f"runs/{ablation}/seed-{seed}" for ablation in ("baseline", "softmax-0.5") for seed in (0, 1)]
    plan.write(folder, dict.fromkeys(names, "c0de"), 2, SMOKE.to_json())
    return folder


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.sampled_from([field.name for field in dataclasses.fields(RunState)]),
    st.sampled_from([None, "", "x", -1, 1e300, True, [], {}, float("nan")]),
    st.integers(0, 10_000),
)
def test_no_file_breaks_the_page(tmp_path_factory, key, value, size):
    folder = tmp_path_factory.mktemp("results") / "smoke"
    plan.write(folder, {"runs/baseline/seed-0": "c0de"}, 2, SMOKE.to_json())
    file = folder / "runs/baseline/seed-0" / FILE
    RunState("baseline", 0, "running", fingerprint="c0de").write(file.parent)
    values = json.loads(file.read_text()) | {key: value}
    file.write_text(json.dumps(values)[:size])
    assert text(status.page([folder])).startswith("smoke: 1 runs: 1 ")
    for name in (plan.EXPERIMENT, plan.PLAN):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: size % len(content)])
        assert text(status.page([folder])).startswith("smoke: ")


def test_nothing_that_is_shown_can_draw_on_the_terminal(tmp_path):
    name = "tau\033]0;title\a\nrow [red]"
    out = tmp_path / name / f"runs/{name}/seed-0"
    RunState(name, 0, "failed", note="ValueError: \033[2J\a\x9b1mred\u2028\u202e. [bold]").write(out)
    shown = text(status.page([tmp_path / name]))
    assert shown.replace("\n", "").isprintable() and len(shown.splitlines()) == 3
    assert shown.count(r"tau\x1b]0;title\x07\nrow [red]") == 2  # the experiment and the ablation
    assert r"ValueError: \x1b[2J\x07\x9b1mred\u2028\u202e. [bold]" in shown


def test_ranges_are_short():
    assert status.ranges([3, 0, 1, 2, 5, 10, 11]) == "0-3, 5, 10-11"


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_say_every_number(numbers):
    ends = [list(map(int, part.split("-"))) for part in status.ranges(list(numbers)).split(", ")]
    assert [number for part in ends for number in range(part[0], part[-1] + 1)] == sorted(numbers)


def test_two_hundred_runs_fit_a_screen():
    names = [f"tau-{number}" for number in range(10)]
    done = {"state": "finished", "step": 80, "steps": 80, "seconds_per_step": 2.0, "device": "cpu"}
    runs = [
        RunState(name, seed, success=0.10 + seed / 1000, **done) for name, seed in itertools.product(names, range(20))
    ]
    half = {"step": 40, "success": 0.12}
    runs[25] = dataclasses.replace(runs[25], state="running", seconds_left=80.0, gpus="GPU-7", note="process 1", **half)
    runs[31] = dataclasses.replace(runs[31], state="failed", device=None, note="ValueError: x", **half)
    drawn = text(status.table(runs)).splitlines()
    assert len(drawn) == 1 + 10 + 2
    assert len({line.index("cpu") for line in drawn[1:] if "cpu" in line}) == 1
    (live,) = (line for line in drawn if "running" in line)
    assert " ".join(live.split()) == "tau-1 5 running 40/80 12.0 % 1 min GPU-7 process 1"
    (rest,) = (line for line in drawn if "tau-1 " in line and "finished" in line)
    assert "0-4, 6-10, 12-19 (18)" in rest and "10.0 to 11.9 %" in rest
    assert status.summary(runs, 2) == "200 runs: 198 finished, 1 failed, 1 running; about 1 min left"


def test_a_narrow_terminal_cuts_nothing_but_notes():
    runs = [RunState("softmax-0.5", 3, "failed", step=40, steps=80, note="ValueError: " + "no such thing " * 20)]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(status.table(runs))
    heading, line = capture.get().splitlines()
    assert heading.split() == list(status.COLUMNS)
    assert line.split()[:8] == ["softmax-0.5", "3", "failed", "40/80", "–", "–", "–", "ValueError:"]
    assert line.endswith("…") and len(line) == 80


def test_the_command_names_a_folder_that_is_not_there(capsys, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        status.main([str(tmp_path / "gone")])
    assert str(stopped.value) == f"{tmp_path / 'gone'}: no such folder; allowed: results/<experiment>"
    with pytest.raises(SystemExit, match=r"--watch 0: allowed"):
        status.main(["--watch", "0"])
    monkeypatch.chdir(tmp_path)
    status.main([])
    line = "results: no experiment was started here; call snakemake, or name a folder results/<experiment>"
    assert capsys.readouterr().out == f"{line}\n"


def test_watching_draws_until_it_is_stopped(experiment, monkeypatch, capsys):
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", sleep)
    with pytest.raises(SystemExit):
        status.main([str(experiment), "--watch", "5"])
    assert waited == [5, 5]
    out = capsys.readouterr().out
    assert out.count("smoke: 4 runs: 4 waiting\n") == 2 and "\033" not in out
