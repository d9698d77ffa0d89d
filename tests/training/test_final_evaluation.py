"""The final evaluation by the training job: the same bytes as those of a job of its own, and when it is not used."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softmax_rewards.common import provenance
from softmax_rewards.training import evaluate, final_evaluation, trainer
from softmax_rewards.training.final_evaluation import FILES, FOLDER
from softmax_rewards.training.state import RunState

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def short(tiny):
    """The tiny run with two steps."""
    run, data, base = tiny
    return dataclasses.replace(run, training=dataclasses.replace(run.training, steps=2)), data, base


def trained(run, data, base, out):
    """Train and evaluate a run, as the training job does."""
    policy = trainer.train(run, data, base, out)
    code = provenance.evaluation_fingerprint(run.to_dict())
    final_evaluation.leave(lambda folder: evaluate.final(out, data, folder, policy), out, code)


@pytest.fixture(scope="module")
def evaluated(short, tmp_path_factory):
    """A run whose training job has evaluated the final model."""
    out = tmp_path_factory.mktemp("evaluated") / "seed-0"
    trained(*short, out)
    return out


@pytest.fixture
def copy(evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "seed-0")
    return tmp_path / "seed-0"


def published(out):
    return [name for name in FILES if (out / name).exists()]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_results_are_those_of_a_job_of_its_own(short, tmp_path, precision):
    run, data, base = short
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, precision=precision))
    out, alone = tmp_path / "seed-0", tmp_path / "alone"
    trained(run, data, base, out)
    assert published(out) == []
    evaluate.final(out, data, alone)  # loads the saved model
    assert final_evaluation.take_over(out)
    for name in FILES:
        assert (out / name).read_bytes() == (alone / name).read_bytes(), name
    state = RunState.read(out)
    assert (state.state, state.evaluation, state.step) == ("finished", "done", 2)


def test_the_results_can_be_taken_over_again_after_a_workflow_has_deleted_them(copy):
    for _ in range(2):
        assert final_evaluation.take_over(copy)
        assert published(copy) == list(FILES)
        for name in FILES:
            (copy / name).unlink()


def test_results_of_another_run_or_other_code_are_not_taken_over(copy, monkeypatch):
    record = json.loads((copy / "run.json").read_text())
    for key in ("fingerprint", "data", "base"):
        (copy / "run.json").write_text(json.dumps(record | {key: "other"}))
        assert not final_evaluation.take_over(copy)
    (copy / "run.json").write_text(json.dumps(record))
    with monkeypatch.context() as patched:
        patched.setattr(provenance, "evaluation_fingerprint", lambda run: "other")
        assert not final_evaluation.take_over(copy)
    assert published(copy) == []
    assert final_evaluation.take_over(copy)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_damaged_or_incomplete_results_are_not_taken_over(copy, name, capsys):
    file = copy / FOLDER / name
    content = file.read_bytes()
    file.write_bytes(content.replace(b"0", b"1"))
    assert not final_evaluation.take_over(copy)
    assert f"{name} is damaged (sha256 differs); the model is evaluated again" in capsys.readouterr().out
    file.unlink()  # as when the training job was killed
    assert not final_evaluation.take_over(copy)
    shutil.rmtree(copy / FOLDER)  # as in a run of earlier code
    assert not final_evaluation.take_over(copy)
    assert published(copy) == []


def test_an_evaluation_that_fails_does_not_fail_the_training(copy, capsys):
    def fails(folder):
        raise RuntimeError("the verifier\nfailed")

    final_evaluation.leave(fails, copy, "code")
    assert "the final evaluation failed (RuntimeError: the verifier failed); the next job" in capsys.readouterr().out
    assert not final_evaluation.take_over(copy)
    assert RunState.read(copy).evaluation == "failed"


def test_a_finished_run_keeps_its_results_and_a_run_trained_again_loses_them(short, copy):
    assert trainer.train(*short, copy) is None
    assert final_evaluation.take_over(copy)
    shutil.rmtree(copy / "finished")
    trainer.train(*short, copy)
    assert not (copy / FOLDER).exists() and not final_evaluation.take_over(copy)


def test_the_seconds_of_the_phases_outlast_a_resume(short, evaluated, tmp_path, interrupted_at):
    assert json.loads((evaluated / "timing.json").read_text()).keys() == {
        "start_s",
        "evaluation_s",
        "final_evaluation_s",
    }
    with interrupted_at(2):
        trainer.train(*short, tmp_path)
    phases = [json.loads(line) for line in (tmp_path / "state/phases.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in phases] == ["start", "evaluation"]
    trainer.train(*short, tmp_path)
    seconds = json.loads((tmp_path / "timing.json").read_text())
    assert seconds["start_s"] > phases[0]["seconds"] and seconds["evaluation_s"] > phases[1]["seconds"]


def test_the_script_takes_results_over_without_torch(copy, short):
    code = (
        "import runpy, sys; runpy.run_path('workflow/scripts/evaluate.py', run_name='__main__');"
        "print({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    arguments = ["--record", copy / "run.json", "--data", short[1] / "manifest.json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
    assert published(copy) == list(FILES)
