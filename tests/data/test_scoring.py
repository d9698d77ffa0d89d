"""Scoring: every way in which a verifier can fail becomes one line, in time, and the run goes on once it is mended."""

import dataclasses
import signal
import subprocess
import sys
import threading
import time

import pytest

from softmax_rewards.data import tasks
from softmax_rewards.data.scoring import RewardError, score
from softmax_rewards.training import trainer

VERIFIER = """
import itertools, time
from dataclasses import dataclass
from softmax_rewards.data.tasks import Score

@dataclass(frozen=True)
class Options:
    pass

def good(reward=1.0):
    return Score(reward, True, True, 1, 0, False)

def score(text, puzzle, options):
    return {function}(text)

def fine(text):
    return good()

def raises(text):
    return good() if text != "bad" else good(1 / 0)

def exits(text):
    return good() if text != "bad" else exit("enough,\\nreally")

def nan(text):
    return good() if text != "bad" else good(float("nan"))

def wordy(text):
    return good() if text != "bad" else good("0.5")

def nothing(text):
    return good() if text != "bad" else None

def empty(text):
    pass

def hangs(text):
    while text == "bad":
        pass
    return good()

def stubborn(text):
    try:
        return hangs(text)
    except:
        return good()

def slow(text):
    time.sleep(0.02)
    return good()

def hangs_in_c(text):
    return all(itertools.repeat(True))
"""
PUZZLES = [{"nums": [1, 2], "target": 3}, {"nums": [4, 5], "target": 9}, {"nums": [6, 7], "target": 13}]
TEXTS = ["good", "good", "good", "bad", "good", "good"]  # three groups of two


@pytest.fixture
def task(tmp_path):
    """Makes a task whose verifier is one of the functions above, as a file among the tasks."""
    tasks.__path__.append(str(tmp_path))
    names = []

    def made(function):
        names.append(f"verifier_{function}")
        (tmp_path / f"{names[-1]}.py").write_text(VERIFIER.replace("{function}", function))
        return {"name": names[-1]}

    yield made
    tasks.__path__.remove(str(tmp_path))
    for name in names:
        sys.modules.pop(f"{tasks.__name__}.{name}", None)
        vars(tasks).pop(name, None)


def failure(task, seconds=60.0, texts=TEXTS):
    with pytest.raises(RewardError) as caught:
        score(task, PUZZLES, texts, batch="rollout 7", seconds=seconds)
    return str(caught.value)


def line_of(code):
    return next(number for number, line in enumerate(VERIFIER.splitlines(), 1) if code in line)


def test_verdicts_come_in_the_order_of_the_answers(task):
    assert [found.reward for found in score(task("fine"), PUZZLES, TEXTS, batch="", seconds=60.0)] == [1.0] * 6


@pytest.mark.parametrize(
    ("function", "said", "code"),
    [
        ("raises", "raised ZeroDivisionError: division by zero;", "1 / 0"),
        ("exits", "raised SystemExit: enough, really;", "exit("),
        ("nan", "returned the reward nan; wanted: a finite int or float;", "def score"),
        ("wordy", "returned the reward '0.5'; wanted: a finite int or float;", "def score"),
        ("nothing", "returned NoneType; wanted: a Score;", "def score"),
    ],
)
def test_a_verifier_that_fails_is_one_line(task, tmp_path, function, said, code):
    message = failure(task(function))
    assert message.startswith(f"task verifier_{function}: its verifier {said} at puzzle 1, sample 1 of the batch")
    assert "'rollout 7'; puzzle {'nums': [4, 5], 'target': 9}; answer 'bad'; " in message
    assert message.endswith(f"{tmp_path}/verifier_{function}.py:{line_of(code)}")
    assert "\n" not in message


@pytest.mark.parametrize("function", ["hangs", "stubborn"])
def test_a_verifier_that_does_not_end_is_interrupted(task, tmp_path, function):
    began = time.monotonic()
    message = failure(task(function), seconds=0.3)
    assert time.monotonic() - began >= 0.3
    assert "took longer than 0.3 s for 6 answers; repair it, or raise training.reward_timeout" in message
    assert "at puzzle 1, sample 1 of the batch 'rollout 7'" in message
    if function == "hangs":
        assert int(message.rsplit(":", 1)[1]) in (line_of("while text"), line_of("while text") + 1)


def test_the_time_is_for_all_answers_together_in_any_thread(task):
    with pytest.raises(RewardError, match=r"took longer than 0\.1 s for 60 answers"):
        score(task("slow"), PUZZLES, TEXTS * 10, batch="", seconds=0.1)
    found = []
    thread = threading.Thread(target=lambda: found.append(failure(task("slow"), 0.1, TEXTS * 10)))
    thread.start()
    thread.join()
    assert "took longer than 0.1 s" in found[0]


@pytest.mark.parametrize("text", ["x" * 10_000, "\n" * 10_000, "\x00\U0010ffff" * 150])
def test_of_a_long_answer_the_beginning_is_shown(task, text):
    shown = failure(task("empty"), texts=[text] * 6).split("answer ")[1].split("; ")[0]
    assert len(shown) <= 200 and shown[:5] == repr(text)[:5]


def test_a_timer_and_a_handler_that_were_there_are_there_again(task):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    try:
        for seconds in (60.0, 0.05):
            signal.setitimer(signal.ITIMER_REAL, 30.0, 7.0)
            if seconds == 60.0:
                score(task("fine"), PUZZLES, TEXTS, batch="", seconds=seconds)
            else:
                failure(task("hangs"), seconds)
            left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
            assert 20 < left < 30 and interval == 7.0
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # one that would have rung meanwhile rings late
        failure(task("hangs"), 0.1)
        deadline = time.monotonic() + 10
        while not rung and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_no_signal_interrupts_ends_with_the_process(task):
    spec = task("hangs_in_c")
    code = (
        f"from softmax_rewards.data import tasks, scoring; tasks.__path__.append({tasks.__path__[-1]!r});"
        "scoring.GRACE = 0.5;"
        f"scoring.score({spec!r}, {PUZZLES!r}, {TEXTS!r}, batch='', seconds=0.1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f'verifier_hangs_in_c.py", line {line_of("itertools.repeat")} in hangs_in_c' in done.stderr


@pytest.mark.parametrize("where", ["rollout", "evaluation"])
def test_a_run_goes_on_once_its_verifier_is_mended(tiny, tmp_path, monkeypatch, where):
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=4, checkpoint_every=1))
    trainer.train(run, data, base, tmp_path / "undisturbed")
    module, _ = tasks.load(run.task)
    verdict, calls = module.score, []

    def broken(text, puzzle, options):
        calls.append(text)
        # 16 answers a step after 16 of an evaluation before every other step
        if len(calls) == {"rollout": 16 + 16 + 5, "evaluation": 16 + 2 * 16 + 5}[where]:
            raise ValueError("no idea")
        return verdict(text, puzzle, options)

    with monkeypatch.context() as patched, pytest.raises(RewardError, match=f"raised ValueError: no idea.*'{where}"):
        patched.setattr(module, "score", broken)
        trainer.train(run, data, base, tmp_path / "broken")
    assert list((tmp_path / "broken/state").glob("checkpoint-*"))
    trainer.train(run, data, base, tmp_path / "broken")
    for name in ("metrics.csv", "evaluations.csv", "episodes.parquet", "samples.jsonl", "model/model.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
