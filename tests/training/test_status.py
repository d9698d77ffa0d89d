"""The command `softmax-rewards status`: on a terminal, in a pipe, without UTF-8, and with files that are damaged."""

import dataclasses
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.config import experiments
from softmax_rewards.training import plan, status
from softmax_rewards.training.snapshot import Reader
from softmax_rewards.training.state import FILE, RunState
from softmax_rewards.training.status_view import Screen, page

ROOT = Path(__file__).parents[2]
SMOKE = experiments.load(ROOT / "tests/smoke/smoke.yaml")
RUNNING = RunState("baseline", 0, "running", step=2, steps=4, fingerprint="c0de", success=0.25)
COMMAND = [sys.executable, "-m", "softmax_rewards", "status"]


@pytest.fixture
def experiment(tmp_path):
    """A started experiment: four runs of the smoke experiment, of which none has begun."""
    folder = tmp_path / "results" / "smoke"
    names = [f"runs/{ablation}/seed-{seed}" for ablation in ("baseline", "softmax-0.5") for seed in (0, 1)]
    plan.write(folder, dict.fromkeys(names, "c0de"), 2, SMOKE.to_json())
    return folder


def environment(**changes):
    plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")}
    return plain | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | changes


@pytest.fixture
def at_terminal():
    """Starts the command on a terminal of 80 × 24, ends it with a signal after some text came, returns all it wrote."""
    processes = []

    def run(arguments, until, number=signal.SIGINT, **changes):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=theirs,
            stderr=theirs,
            env=environment(**changes),
            # A shell starts its background jobs with SIGINT ignored, and a process inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        os.close(theirs)
        written, sent = "", False
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not piece:
                break
            written += piece.decode()
            if until(written) and not sent:
                process.send_signal(number)
                sent = True
        os.close(ours)
        return written, process.wait()

    yield run
    for process in processes:
        process.kill()
        process.wait()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.sampled_from([field.name for field in dataclasses.fields(RunState)]),
    st.sampled_from([None, "", "x", "\0", -1, 1e300, True, [], {}, float("nan")]),
    st.integers(0, 10_000),
)
def test_no_file_breaks_the_page(tmp_path_factory, key, value, size):
    folder = tmp_path_factory.mktemp("results") / "smoke"
    plan.write(folder, {"runs/baseline/seed-0": "c0de"}, 2, SMOKE.to_json())
    file = folder / "runs/baseline/seed-0" / FILE
    RUNNING.write(file.parent)
    values = json.loads(file.read_text()) | {key: value}
    file.write_text(json.dumps(values)[:size])

    def heading():
        return page([Reader().read(folder)], Screen(80, 23))[0].plain

    assert heading().startswith("smoke: 1 run: 1 ")
    for name in (plan.EXPERIMENT, plan.PLAN):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: size % len(content)])
        assert heading().startswith("smoke: ")


def test_the_command_names_a_folder_that_is_not_there(capsys, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        status.main([str(tmp_path / "gone")])
    assert str(stopped.value) == f"{tmp_path / 'gone'}: no such folder; allowed: results/<experiment>"
    monkeypatch.chdir(tmp_path)
    status.main([])
    line = "results: no experiment was started here; call snakemake, or name a folder results/<experiment>"
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "results/smoke"])
def test_the_interval_is_a_number_of_seconds(text):
    with pytest.raises(SystemExit) as stopped:
        status.main([f"--watch={text}"])
    assert stopped.value.code == f"--watch {text}: allowed: a number of seconds above 0, at most 86400"


@pytest.mark.parametrize(("arguments", "seconds"), [(["--watch", "7"], 7.0), (["--watch"], status.INTERVAL)])
def test_a_pipe_gets_plain_lines_once_per_interval(experiment, monkeypatch, capsys, arguments, seconds):
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt
        RUNNING.write(experiment / "runs/baseline/seed-0")

    monkeypatch.setattr(status.time, "sleep", sleep)
    with pytest.raises(SystemExit) as stopped:
        status.main([str(experiment), *arguments])
    assert waited == [seconds, seconds] and stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("smoke: 4 runs: 4 waiting\n") and "\033" not in out
    assert f"smoke: 4 runs: 3 waiting, 1 running\n  baseline  0  2/4  25.0 %  –  –  process {os.getpid()}\n" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_will_do(experiment, encoding):
    RunState("baseline", 0, "failed", fingerprint="c0de", note="ValueError: π – é").write(
        experiment / "runs/baseline/seed-0"
    )
    RunState("baseline", 1, "running", fingerprint="c0de").write(experiment / "runs/baseline/seed-1")
    done = subprocess.run(
        [*COMMAND, str(experiment)], env=environment(PYTHONIOENCODING=encoding), capture_output=True, check=True
    )
    shown = {"ascii": r"\u03c0 \u2013 \xe9", "latin-1": r"\u03c0 \u2013 é", "utf-8": "π – é"}[encoding]
    assert f"ValueError: {shown} (starts over" in done.stdout.decode(encoding)
    assert done.stderr == b""


def test_a_terminal_is_drawn_in_place_until_control_c(experiment, at_terminal):
    RUNNING.write(experiment / "runs/baseline/seed-0")
    page_of_three = r"1 running.*?━━+─+.*?25\.0 %"
    written, code = at_terminal(
        [str(experiment), "--watch", "0.05"], lambda text: len(re.findall(page_of_three, text, re.DOTALL)) > 2
    )
    assert code == 0 and "Traceback" not in written
    assert "\033[1A" in written  # the cursor goes back up
    assert "\033[?1049" not in written and "\033[2J" not in written  # no second screen, and nothing is cleared
    assert written.rindex("\033[?25h") > written.rindex("\033[?25l")  # the cursor is there again


def test_a_terminal_keeps_its_cursor_when_watching_is_killed(experiment, at_terminal):
    written, code = at_terminal(
        [str(experiment), "--watch", "0.05"], lambda text: "waiting" in text, number=signal.SIGTERM
    )
    assert code == 128 + signal.SIGTERM
    assert written.rindex("\033[?25h") > written.rindex("\033[?25l")


def test_without_colors_the_bar_still_tells_how_far_a_run_is(experiment, at_terminal):
    RUNNING.write(experiment / "runs/baseline/seed-0")
    written, code = at_terminal([str(experiment)], lambda text: False, NO_COLOR="1")
    (bar,) = re.findall("━+─+", written)
    assert code == 0 and bar.count("━") == len(bar) // 2
    assert not re.search(r"\033\[[0-9;]*3[0-7]m", written)


def test_a_dumb_terminal_gets_plain_lines(experiment, at_terminal):
    written, code = at_terminal(
        [str(experiment), "--watch", "0.05"], lambda text: text.count("smoke: 4 runs: 4 waiting") > 1, TERM="dumb"
    )
    assert code == 0 and "\033" not in written and "Traceback" not in written
