"""Text for a terminal steers nothing."""

import io
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards import __main__ as command
from softmax_rewards.common import terminal
from softmax_rewards.config.run import ConfigError
from softmax_rewards.training.state import RunState

TITLE = "\x1b]0;title\x07"


@settings(deadline=None, derandomize=True)
@given(st.text(st.characters()))
def test_plain_text_prints_and_keeps_what_printed(text):
    shown = terminal.plain(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()
    shown.encode("utf-8")


def test_an_error_of_a_config_can_be_shown_whatever_the_input_was():
    assert str(ConfigError(f"a{TITLE}\nb: τ")) == r"a\x1b]0;title\x07\nb: τ"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("Traceback:\n  line\nValueError: τ is 0\n", "ValueError: τ is 0"),
        (f"ValueError: {TITLE}\u2028\u202eend\n\n", r"ValueError: \x1b]0;title\x07\u2028\u202eend"),
        ("x" * 10**5 + "\nValueError: short", "ValueError: short"),
        ("", ""),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_the_last_line_of_a_log(tmp_path, log, said):
    file = tmp_path / "log"
    if log is not None:
        file.write_text(log, encoding="utf-8")
    command = [sys.executable, "-m", "softmax_rewards.common.terminal", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.removeprefix(f"{file}: ").rstrip("\n") == said


@pytest.fixture
def output(monkeypatch):
    """Makes standard output one of an encoding, as on such a terminal; what was printed is read from its result."""

    def of(encoding):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict"))
        return lambda: (sys.stdout.flush(), raw.getvalue().decode(encoding))[1]

    return of


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"tau >= 1 \u2192 \u754c, \xb5"),
        ("latin-1", "tau >= 1 \\u2192 \\u754c, µ"),
        ("utf-8", "τ ≥ 1 → 界, µ"),
    ],
)
def test_every_encoding_takes_every_text(output, encoding, shown):
    read = output(encoding)
    terminal.accept_all_text()
    print("τ ≥ 1 → 界, µ")
    assert read() == f"{shown}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_commands_answer_on_every_encoding(output, tmp_path, encoding):
    folder = tmp_path / "τ−界/runs/baseline/seed-0"
    folder.mkdir(parents=True)
    RunState("baseline", 0, "failed", note="ValueError: τ − 界").write(folder)
    rows = "".join(f"{group},{reward}\n" for group in range(30) for reward in (1.0, 0.2, 0.0, 0.0))
    (tmp_path / "τ−界.csv").write_text(f"group,reward\n{rows}", encoding="utf-8")
    for arguments, answer in (
        (["status", str(folder.parents[2])], "1 failed"),
        (["advise", str(tmp_path / "τ−界.csv")], "docs/what-should-i-use.md"),
        (["--help"], "docs/other-trainers.md"),
    ):
        read = output(encoding)
        command.main(arguments)
        assert answer in read()


def test_the_last_line_of_a_log_on_a_terminal_without_its_characters(output, tmp_path):
    (tmp_path / "log").write_text("ValueError: τ is 界\n", encoding="utf-8")
    read = output("ascii")
    with pytest.raises(SystemExit):
        terminal.main([str(tmp_path / "log")])
    assert read() == "ValueError: tau is \\u754c\n"
