"""The command `softmax-rewards`: its help teaches, and its commands work outside a checkout."""

import json
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from softmax_rewards.__main__ import COMMANDS, NAME, main, overview

ROOT = Path(__file__).parents[2]
# Command → the arguments that its own help must explain.
ARGUMENTS = {
    "advise": ("log", "--group", "--reward", "--correct"),
    "judge": ("runs", "--success", "--primary", "--out"),
    "status": ("experiments", "--watch"),
    "show-prompt": ("experiment", "--data"),
    "tensorboard": ("EXPERIMENT", "OUT"),
    "answer": ("EXPERIMENT",),
    "archive": ("results", "archive"),
    "generate-docs": ("--check",),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder that is no checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [NAME])


def test_without_arguments_the_help_names_every_command_with_an_example(capsys):
    for arguments in ([], ["-h"], ["--help"]):
        main(arguments)
        assert capsys.readouterr().out == overview()
    assert set(COMMANDS) == set(ARGUMENTS)
    for name, command in COMMANDS.items():
        assert f"  {name:15}{command.purpose}\n" in overview()
        assert f"{NAME} {command.example}\n" in overview()
        assert command.example.split()[0] == name
    assert max(map(len, overview().splitlines())) <= 100


def test_the_help_names_pages_that_are_there():
    pages = [word.strip(",") for word in overview().split() if word.strip(",").endswith(".md")]
    assert len(pages) == 4
    assert all((ROOT / page).is_file() for page in pages)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_its_arguments(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {NAME} {name} ")
    options = [word for word in COMMANDS[name].example.split() if word.startswith("--")]
    assert not [argument for argument in (*ARGUMENTS[name], *options) if argument not in text]


def test_an_unknown_command_is_refused_with_the_nearest():
    with pytest.raises(SystemExit) as stopped:
        main(["stats"])
    listed = ", ".join(COMMANDS)
    assert stopped.value.code == f"{NAME}: unknown command 'stats' (nearest: 'status'); allowed: {listed}"


def test_the_version_is_the_installed_ones(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"{NAME} {metadata.version(NAME)}\n"


def test_a_command_is_imported_when_it_is_called(tmp_path):
    """From a folder elsewhere, in a process of its own."""
    code = (
        "import sys; from softmax_rewards.__main__ import main; main(['--help']); main(['status']);"
        "print({'numpy', 'pandas', 'scipy', 'torch'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_advice_in_any_folder(tmp_path, capsys):
    rows = [f"{group},{int(sample == group % 4)}" for group in range(8) for sample in range(4)]
    (tmp_path / "rewards.csv").write_text("\n".join(["group,reward", *rows]) + "\n")
    main(["advise", "rewards.csv"])
    assert "Suggestion" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"gone\.csv"):
        main(["advise", "gone.csv"])


def test_judgment_in_any_folder(tmp_path, capsys):
    for ablation, gain in (("linear", 0.2), ("softmax", 0.3)):
        for seed in range(3):
            folder = tmp_path / "RUNS" / ablation / f"seed-{seed}"
            folder.mkdir(parents=True)
            points = [{"step": 0, "success": 0.1}, {"step": 10, "success": 0.1 + gain + 0.01 * seed}]
            (folder / "log.jsonl").write_text("\n".join(map(json.dumps, points)) + "\n")
    main(["judge", "RUNS", "--success", "success"])
    assert "softmax" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="gone: no runs; allowed: folders <ablation>/seed-<n>"):
        main(["judge", "gone", "--success", "success"])


def test_the_status_of_a_folder_anywhere(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    main(["status", "mine"])
    assert capsys.readouterr().out == "mine: no runs yet\n"
    main(["status"])
    assert "no experiment was started here" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="gone: no such folder"):
        main(["tensorboard", "gone", "out"])


@pytest.mark.parametrize("arguments", [["--help"], ["advise", "--help"], ["advise", "log.csv"], ["status", "mine"]])
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(tmp_path, arguments):
    """Old: a traceback, or code 1 from rich."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "log.csv").write_text("group,reward\n" + "a,1\na,0\n" * 30)
    assert_ends_quietly(tmp_path, arguments, read=0)


def test_a_page_that_is_drawn_again_ends_with_its_reader(tmp_path):
    (tmp_path / "mine").mkdir()
    assert_ends_quietly(tmp_path, ["status", "mine", "--watch", "0.01"], read=1)


def assert_ends_quietly(folder, arguments, read):
    command = [sys.executable, "-m", "softmax_rewards", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.read(read)
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode in (0, -signal.SIGPIPE)
