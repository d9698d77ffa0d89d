"""Locks of a folder, with real processes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from softmax_rewards.common import locks

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from pathlib import Path; from softmax_rewards.common import locks\n"
    "lock = locks.hold(Path(sys.argv[1]), 'test'); print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `tmp_path / "held"`; it is stopped, and ends with the test."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "held")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


def test_a_held_folder_is_refused_by_a_line_that_names_the_process_until_it_is_killed(holder, tmp_path):
    folder = tmp_path / "held"
    for _ in range(2):  # to be refused leaves the name of the holder in the file
        with pytest.raises(RuntimeError) as error:
            locks.hold(folder, "test")
        assert str(error.value) == (
            f"{folder}: process {holder.pid} (test) is at work here on {socket.gethostname()}; wait for it or stop it"
        )
    holder.kill()
    holder.wait()
    lock = locks.hold(folder, "test")
    assert (folder / locks.FILE).read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    lock.release()
    locks.hold(folder, "test").release()


def test_a_lock_that_cannot_be_signed_is_not_kept(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full") as error:
        patched.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError("full")))
        locks.hold(tmp_path, "test")
    locks.hold(tmp_path, "test").release()  # `error` still refers to the failed attempt
    assert error
