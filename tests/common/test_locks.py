"""Locks of a folder, with real processes."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from softmax_rewards.common import devices, locks
from softmax_rewards.training import holders, session

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


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def no_flock(request, monkeypatch):
    """Every file system lacks file locks; the value is what the system calls that."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return os.strerror(request.param)


def test_a_file_system_without_locks_is_named_with_what_to_do(tmp_path, no_flock):
    missing = f"its file system has no file locks (flock: {no_flock}), which keep processes apart; "
    line = f"{tmp_path}: {missing}put the results on a local disk: snakemake --config results=FOLDER"
    for refused in (lambda: locks.hold(tmp_path, "test"), lambda: session.begin(tmp_path, [])):
        with pytest.raises(RuntimeError) as error:
            refused()
        assert str(error.value) == line
    assert holders.explanation(tmp_path) == line


def test_a_lease_needs_locks_too(tmp_path, no_flock, monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "GPU-none")
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"softmax-rewards-gpus: its file system .*; name a folder .*: TMPDIR=FOLDER"
    ):
        devices.lease()


def test_other_errors_of_the_disk_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        locks.hold(tmp_path, "test")
