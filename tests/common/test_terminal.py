"""Text for a terminal steers nothing."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.common import terminal
from softmax_rewards.config.run import ConfigError

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
