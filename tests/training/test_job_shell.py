"""The shell of a job: its Python, whatever PATH and the path of the interpreter are, and its caches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.shell import shell

from softmax_rewards.training import job_shell


@pytest.mark.parametrize("name", ["with space", "with 'quote'", "with {brace}", "with $HOME"])
def test_a_job_has_the_python_of_snakemake_whatever_comes_first_on_the_path(tmp_path, monkeypatch, name):
    other = tmp_path / "bin/python"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho another Python\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    own = tmp_path / name / "python3"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    own.chmod(0o755)
    monkeypatch.setattr(shell, "_process_prefix", None)  # restored after the test
    shell.prefix(job_shell.prefix(str(own)))
    shell("python -c 'import sys; print(*sys.argv[1:])' 'a  b' '{{c}}' > {output:q}", output=tmp_path / "output")
    assert (tmp_path / "output").read_text() == "a  b {c}\n"
    with pytest.raises(subprocess.CalledProcessError):  # also where it is not the last one of a pipe
        shell("python -c 'raise SystemExit(3)' | cat")


def test_a_home_that_cannot_be_written_is_replaced_for_the_caches_alone(tmp_path):
    writable = {"HOME": str(tmp_path / "home")}
    assert set(job_shell.environment(writable, tmp_path)) == {"PYTHONIOENCODING"}
    made = job_shell.environment({"HOME": "/proc/none"}, tmp_path)
    assert made["XDG_CACHE_HOME"] == str(tmp_path / ".cache")
    assert made["MPLCONFIGDIR"] == str(tmp_path / ".config/matplotlib")
    own = {"HOME": "/proc/none", "XDG_CACHE_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    assert set(job_shell.environment(own, tmp_path)) == {"PYTHONIOENCODING"}


@pytest.mark.parametrize(("inherited", "jobs_have"), [("", ":"), ("ascii", "ascii:"), ("latin-1:strict", "latin-1:")])
def test_a_log_of_a_job_takes_any_text(inherited, jobs_have):
    variables = job_shell.environment({"PYTHONIOENCODING": inherited}, Path())
    assert variables["PYTHONIOENCODING"] == f"{jobs_have}backslashreplace"
    done = subprocess.run(
        [sys.executable, "-c", "print('τ')"], env={**os.environ, **variables}, capture_output=True, check=True
    )
    assert done.stdout
