"""What a run has saved survives: damage is seen and passed over, a full disk loses nothing, an ended run stays."""

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from softmax_rewards.common import files
from softmax_rewards.common.files import NotWritten
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.limits import Limits
from softmax_rewards.training import checkpoints, run_folder, trainer
from softmax_rewards.training.finished_run import DECLARED
from softmax_rewards.training.run_folder import RunFolder
from softmax_rewards.training.run_log import TABLES, RunLog
from softmax_rewards.training.step import Steps

TABLES_AND_WEIGHTS = (*(name for name in DECLARED if name not in ("timing.csv", "run.json")), "model/model.safetensors")


class Adder:
    """Stands in for the engine: `w` is the sum of the steps done, and `loaded` says what a resume has set."""

    def __init__(self):
        self.w, self.limits, self.loaded = torch.zeros(3), Limits(8, 99), []

    def state(self):
        return {"policy": {"w": self.w}, "exp_avg": {"w": 2 * self.w}}.items()

    def load(self, kind, name, value):
        self.loaded.append(kind)
        if kind == "policy":
            self.w = value.clone()


def go_on(out, steps, identity="code"):
    """Train `Adder` in `out` up to `steps` updates, with a checkpoint every 2 and one row too many, as when killed."""
    adder = Adder()
    with RunFolder(out, identity) as folder:
        first, tokens = folder.resume(adder, adder.limits)
        for step in range(first + 1, steps + 1):
            adder.w += step
            for table in TABLES:
                folder.log.append(table, {"step": step})
            if step % 2 == 0:
                folder.checkpoint(step, tokens + step, adder, adder.limits)
        folder.log.append("metrics", {"step": steps + 1})
    return first, adder


def rows(out, table="metrics"):
    return [json.loads(line)["step"] for line in (out / f"state/{table}.jsonl").read_text().splitlines()]


def flip(file, bit):
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run with checkpoints after 4 and 6 steps."""
    out = tmp_path_factory.mktemp("begun") / "seed-0"
    go_on(out, 6)
    return out


@pytest.fixture
def copy(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "seed-0")
    return tmp_path / "seed-0"


# --- Checkpoints ----------------------------------------------------------------------------------


def test_the_newest_two_checkpoints_are_kept_and_the_newest_is_taken(copy, capsys):
    assert [folder.name for folder in checkpoints.newest_first(copy / "state")] == [
        "checkpoint-00000006",
        "checkpoint-00000004",
    ]
    first, adder = go_on(copy, 8)
    assert (first, adder.w.tolist(), rows(copy)) == (6, [36.0] * 3, list(range(1, 10)))
    assert not (copy / "state/partial").exists() and capsys.readouterr().out == ""


def test_a_run_that_continues_keeps_the_plan_of_its_first_start(copy, tmp_path):
    adder, old, new = Adder(), {"plan": "old", "predictions": None}, {"plan": "new", "predictions": "p"}
    with RunFolder(tmp_path / "seed-1", "code", old) as folder:
        folder.resume(adder, adder.limits)
        folder.checkpoint(2, 2, adder, adder.limits)
    with RunFolder(tmp_path / "seed-1", "code", new) as folder:
        assert folder.resume(adder, adder.limits) == (2, 2) and folder.plans == old
        folder.checkpoint(4, 4, adder, adder.limits)
    with RunFolder(tmp_path / "seed-1", "code", new) as folder:
        assert folder.resume(adder, adder.limits) == (4, 4) and folder.plans == old
    # Nothing of a run with other settings is used, so this one starts under the new plan.
    with RunFolder(tmp_path / "seed-1", "other", new) as folder:
        assert folder.resume(adder, adder.limits) == (0, 0) and folder.plans == new
    for state in copy.glob("state/*/state.json"):  # as earlier code wrote it
        facts = {key: value for key, value in json.loads(state.read_text()).items() if key != "plans"}
        state.write_text(json.dumps(facts))
        files.write_manifest(
            state.parent, [file.name for file in state.parent.iterdir() if "manifest" not in file.name]
        )
    with RunFolder(copy, "code", new) as folder:
        assert folder.resume(adder, adder.limits)[0] == 6 and folder.plans == {}


def test_the_record_has_the_plan(finished, tmp_path):
    run, data, base = finished.source
    assert "plan" not in json.loads((finished.out / "run.json").read_text())
    shutil.copytree(finished.cut, tmp_path / "seed-0")
    for state in (tmp_path / "seed-0").glob("state/*/state.json"):
        facts = json.loads(state.read_text()) | {"plans": {"plan": "first", "predictions": None}}
        state.write_text(json.dumps(facts))
        files.write_manifest(
            state.parent, [file.name for file in state.parent.iterdir() if "manifest" not in file.name]
        )
    trainer.train(run, data, base, tmp_path / "seed-0", {"plan": "later", "predictions": "later"})
    record = json.loads((tmp_path / "seed-0/run.json").read_text())
    assert (record["plan"], record["predictions"]) == ("first", None)
    assert_same(finished.out, tmp_path / "seed-0")


CHECKPOINT_FILES = ("exp_avg.safetensors", "manifest.json", "policy.safetensors", "state.json")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_of_the_newest_checkpoint_is_loaded(begun, tmp_path_factory, data):
    out = tmp_path_factory.mktemp("damaged") / "seed-0"
    shutil.copytree(begun, out)
    file = out / "state/checkpoint-00000006" / data.draw(st.sampled_from(CHECKPOINT_FILES))
    size = file.stat().st_size
    kind = data.draw(st.sampled_from(["flip", "flip", "cut", "gone"]))
    if kind == "flip":
        flip(file, data.draw(st.integers(0, 8 * size - 1)))
    elif kind == "cut":
        # Without its last byte, a line feed, a JSON file still says everything.
        os.truncate(file, data.draw(st.integers(0, size - 2)))
    else:
        file.unlink()
    first, adder = go_on(out, 6)
    assert (first, adder.loaded.count("policy"), adder.w.tolist()) == (4, 1, [21.0] * 3)
    assert rows(out) == rows(begun)
    shutil.rmtree(out.parent)


def test_it_is_said_which_file_is_damaged_and_what_the_run_goes_on_from(copy, capsys):
    state = copy / "state"
    flip(state / "checkpoint-00000006/policy.safetensors", 700)
    go_on(copy, 6)
    said = f"[train] {state}/checkpoint-00000006/policy.safetensors is damaged (sha256 differs)"
    assert capsys.readouterr().out == f"{said}; going on from checkpoint-00000004\n"
    for folder in checkpoints.newest_first(state):
        (folder / "manifest.json").unlink()  # as an earlier version wrote them
    first, adder = go_on(copy, 6)
    assert first == 0 and adder.loaded == [] and rows(copy) == list(range(1, 8))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(
        line.endswith("; starting from the beginning") and "no readable manifest" in line for line in lines
    )


def test_a_checkpoint_of_another_identity_is_not_loaded(copy, capsys):
    first, adder = go_on(copy, 2, "other code")
    assert first == 0 and adder.loaded == [] and rows(copy) == [1, 2, 3]
    assert (
        "checkpoint-00000006 is of other code, data or settings; starting from the beginning" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("damage", "resumed"),
    [
        (lambda log, ends: flip(log, 8 * ends[4] - 20), 0),
        (lambda log, ends: flip(log, 8 * ends[4] + 20), 4),
        (lambda log, ends: flip(log, 8 * ends[6] + 20), 6),
        (lambda log, ends: os.truncate(log, ends[6]), 6),
        (lambda log, ends: os.truncate(log, ends[6] - 1), 4),
        (lambda log, ends: os.truncate(log, ends[4] - 1), 0),
        (lambda log, ends: log.unlink(), 0),
    ],
)
def test_a_checkpoint_is_of_no_use_without_its_logs(copy, begun, damage, resumed, capsys):
    log = copy / "state/metrics.jsonl"
    line = len(log.read_bytes()) // 7  # all steps have one digit
    damage(log, {step: step * line for step in (4, 6)})
    first, adder = go_on(copy, 6)
    assert (first, adder.w.tolist(), rows(copy)) == (resumed, [21.0] * 3, list(range(1, 8)))
    assert rows(copy, "timing") == rows(begun, "timing")
    assert capsys.readouterr().out.count(f"{log} is damaged") == {6: 0, 4: 1, 0: 2}[resumed]


def test_the_digest_of_a_log_goes_on_after_it_was_cut(tmp_path):
    log = RunLog(tmp_path)
    log.append("metrics", {"step": 1})
    marks = log.marks()
    log.append("metrics", {"step": 2})
    log.close()
    log = RunLog(tmp_path)
    log.truncate(marks)
    log.append("metrics", {"step": 3})
    assert log.marks()["metrics"]["sha256"] == files.sha256(tmp_path / "metrics.jsonl")
    assert log.rows("metrics") == [{"step": 1}, {"step": 3}]
    log.close()


def test_a_lock_that_a_dead_process_left_is_no_obstacle(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / ".lock").write_text(f"{ended.pid} elsewhere\n")
    with RunFolder(tmp_path, "code"):
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
        with pytest.raises(RuntimeError, match=f"process {os.getpid()} \\(training\\) is at work here on "):
            RunFolder(tmp_path, "code").__enter__()


# --- A disk that does not take everything ---------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """Mounts a file system of a size, and changes it: `disk("size=64k")`, `disk("remount,ro")`."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here, but perhaps under `unshare -rm`: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], capture_output=True)


NOISE = np.random.default_rng(0).random(20_000)
WRITERS = {
    "weights.safetensors": lambda file: checkpoint.write_tensors({"w": torch.tensor(NOISE)}, file),
    "table.csv": lambda file: files.write_csv(pd.DataFrame({"x": NOISE}), file),
    "record.json": lambda file: files.write_json({"x": NOISE.tolist()}, file),
    "page.html": lambda file: files.write_text(str(NOISE.tolist()), file),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_gets_no_half_file_and_its_space_back(disk, name):
    folder = disk("size=64k")
    with pytest.raises(NotWritten) as raised:
        WRITERS[name](folder / name)
    assert raised.value.errno == errno.ENOSPC
    assert str(raised.value) == f"{folder / name}: No space left on device; free some and start again"
    assert not list(folder.iterdir())
    disk("remount,ro")
    with pytest.raises(NotWritten, match=rf"{name}: Read-only file system; make it writable and start again"):
        WRITERS[name](folder / name)


def test_a_log_that_finds_no_place_names_itself_and_hides_no_other_error(disk):
    folder = disk("size=64k")
    with pytest.raises(NotWritten) as raised, RunFolder(folder / "seed-0", "code") as run:
        while True:
            run.log.append("samples", {"text": "x" * 5000})
    file = folder / "seed-0/state/samples.jsonl"
    says = f"{file}: No space left on device; free some and start again: the run begins again"
    assert str(raised.value) == says
    with pytest.raises(KeyError), RunFolder(folder / "seed-0", "code") as run:
        run.log.append("metrics", {"step": 1})  # which the full disk is not asked to take before the file is closed
        raise KeyError


def test_a_run_on_a_full_disk_ends_with_the_same_bytes_once_there_is_space(disk, finished):
    run, data, base = finished.source
    folder = disk("size=640k")  # two checkpoints of 250k, no third
    for _ in range(2):
        with pytest.raises(NotWritten) as raised:
            trainer.train(run, data, base, folder / "seed-0")
        whole = checkpoints.newest_first(folder / "seed-0/state")
        then = f"free some and start again: the run goes on from step {checkpoints.steps(whole[0])}"
        assert str(raised.value).endswith(f"No space left on device; {then}")
        assert not list(folder.rglob("*partial"))
    disk("remount,ro")
    with pytest.raises(NotWritten, match="Read-only file system; make it writable and start again"):
        trainer.train(run, data, base, folder / "seed-0")
    disk("remount,rw,size=100m")
    trainer.train(run, data, base, folder / "seed-0")
    assert_same(finished.out, folder / "seed-0")


# --- Real runs ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Finished:
    """An undisturbed run: what it was trained from, its folder, and the folder of the same one cut short at step 6."""

    source: tuple
    out: Path
    cut: Path


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, checkpoint_every=2))
    runs = tmp_path_factory.mktemp("runs")
    written = checkpoints.write

    def kept(state, step, *arguments):
        written(state, step, *arguments)
        if step == 6:
            shutil.copytree(runs / "seed-0", runs / "cut")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_folder.checkpoints, "write", kept)
        trainer.train(run, data, base, runs / "seed-0")
    return Finished((run, data, base), runs / "seed-0", runs / "cut")


def assert_same(one, other):
    for name in TABLES_AND_WEIGHTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_run_whose_newest_checkpoint_is_damaged_ends_with_the_same_bytes(finished, tmp_path, capsys):
    shutil.copytree(finished.cut, tmp_path / "seed-0")
    rng = np.random.default_rng()  # another bit every time the test runs
    newest = checkpoints.newest_first(tmp_path / "seed-0/state")[0]
    file = rng.choice(sorted(newest.iterdir()))
    flip(file, int(rng.integers(8 * file.stat().st_size)))
    trainer.train(*finished.source, tmp_path / "seed-0")
    assert f"{checkpoints.PREFIX}00000006" in (said := capsys.readouterr().out) and "going on from checkpoint-" in said
    assert_same(finished.out, tmp_path / "seed-0")


class Trained(Exception):
    """A step of training was begun."""


@pytest.fixture
def ended(finished, tmp_path, monkeypatch):
    """The folder of an ended run whose declared outputs were deleted; training again is an error."""

    def collect(*_):
        raise Trained

    monkeypatch.setattr(Steps, "collect", collect)
    out = tmp_path / "seed-0"
    shutil.copytree(finished.out, out)
    for name in DECLARED:
        (out / name).unlink()
    return out


@pytest.mark.parametrize("links", [True, False])
def test_an_ended_run_is_put_back_and_not_trained_again(finished, ended, links, monkeypatch, capsys):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    (ended / "evaluation.json").write_text("of the earlier run")
    before = {name: (finished.out / name).read_bytes() for name in (*DECLARED, "model/model.safetensors")}
    for _ in range(2):  # the second time everything is there
        trainer.train(*finished.source, ended)
        assert "this run had finished" in capsys.readouterr().out
        assert {name: (ended / name).read_bytes() for name in before} == before
        assert {file.name for file in ended.iterdir()} == {file.name for file in finished.out.iterdir()}
        assert ((ended / "metrics.csv").stat().st_nlink == 2) == links


@pytest.mark.parametrize("name", ["finished/metrics.csv", "finished/state.json", "model/model.safetensors"])
def test_an_ended_run_that_is_damaged_is_trained_anew(finished, ended, name, capsys):
    flip(ended / name, 777)
    with pytest.raises(Trained):
        trainer.train(*finished.source, ended)
    assert f"{ended / name} is damaged (sha256 differs)" in capsys.readouterr().out
    assert not (ended / "finished").exists()


def test_an_ended_run_of_other_settings_is_trained_anew(finished, ended, capsys):
    run, data, base = finished.source
    with pytest.raises(Trained):
        trainer.train(dataclasses.replace(run, weighting={"scheme": "linear"}), data, base, ended)
    assert "finished is of other code, data or settings" in capsys.readouterr().out


def test_all_that_the_workflow_declares_is_kept():
    text = Path("workflow/rules/train.smk").read_text(encoding="utf-8")
    output = text[text.index("    output:") : text.index("    log:")]
    assert set(re.findall(r"[a-z]+(?:/config)?\.(?:json|jsonl|csv|parquet)\b", output)) == set(DECLARED)
