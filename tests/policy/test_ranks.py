"""One run in several processes: the same trajectory, and a checkpoint that another number of them goes on from."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from softmax_rewards.config.run import ConfigError, Training
from softmax_rewards.policy.world import World

# These settings reach further than one rank: a batch's scale, all samples' entropies, every token's penalty.
SETTINGS = {
    "plain": ({"scheme": "softmax_matched", "tau": 0.5}, {}),
    "all": (
        {"scheme": "softmax", "tau": 0.5},
        {
            "entropy_coef": 0.01,
            "kl_coef": 0.1,
            "updates_per_batch": 2,
            "measure_noise": True,
            "hidden_budget": 0.5,
            "max_num_gen_batches": 2,
            "max_microbatch_tokens": 100,
        },
    ),
    "taught": (
        {"scheme": "linear"},
        {"injection": 1.1, "skip_unfinished": True, "skip_equal": True, "gradient_checkpointing": True},
    ),
}


def configured(tiny, weighting=None, **training):
    run, data, base = tiny
    settings = dataclasses.replace(run.training, **training)
    return dataclasses.replace(run, training=settings, weighting=weighting or run.weighting), data, base


def start(tiny, out, gpus, **options) -> subprocess.Popen:
    run, data, base = tiny
    script = [sys.executable, "workflow/scripts/train.py", "--run", run.to_json(), "--gpus", str(gpus)]
    files = ["--data", data / "manifest.json", "--base", base / "manifest.json", "--record", out / "run.json"]
    files += ["--plan", "docs/analysis-plan.md", "--predictions", "docs/predictions.json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*script, *files], **pipes, **options)


def trained(tiny, out, gpus):
    process = start(tiny, out, gpus)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def assert_alike(one, other):
    """Equal up to rounding: what was sampled is the same, and what was computed from it within 1e-5."""
    ours, theirs = (pd.read_parquet(folder / "episodes.parquet") for folder in (one, other))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=1e-5)
    for name in ("metrics", "evaluations"):
        ours, theirs = (pd.read_csv(folder / f"{name}.csv") for folder in (one, other))
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (one / "samples.jsonl").read_bytes() == (other / "samples.jsonl").read_bytes()
    ours, theirs = (load_file(folder / "model/model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    # Where a gradient is nothing but rounding, AdamW makes a step of it: single weights may differ by more.
    ours, theirs = (np.concatenate([tensors[name].ravel() for name in sorted(ours)]) for tensors in (ours, theirs))
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(ours)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_ranks_train_as_one_does(tiny, tmp_path, name):
    weighting, training = SETTINGS[name]
    given = configured(tiny, weighting, steps=4, **training)
    for gpus in (1, 2):
        trained(given, tmp_path / str(gpus), gpus)
    assert_alike(tmp_path / "1", tmp_path / "2")


@pytest.mark.slow
def test_four_ranks_some_without_work_go_on_from_a_checkpoint_of_two(tiny, tmp_path):
    """Groups of which only some count, so that ranks have different numbers of micro-batches, or none."""
    given = configured(tiny, {"scheme": "maxrl"}, max_microbatch_tokens=60, checkpoint_every=1)
    trained(given, tmp_path / "1", 1)
    out = tmp_path / "4"
    process = start(given, out, 2)
    until(lambda: list(out.glob("state/checkpoint-*3")) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert output.count("stopped on request after step") == 1
    assert not (out / "run.json").exists()
    assert "step 8/8" in trained(given, out, 4)
    assert_alike(tmp_path / "1", out)


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_and_the_next_start_goes_on(tiny, tmp_path):
    out = tmp_path / "killed"
    process = start(tiny, out, 2)
    until(lambda: list(out.glob("state/checkpoint-*")) or process.poll() is not None)
    children = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "train.py"], capture_output=True, text=True)
    ranks = [int(number) for number in children.stdout.split()]
    assert len(ranks) == 2
    (killed,) = (one for one in ranks if b"\0LOCAL_RANK=1\0" in Path(f"/proc/{one}/environ").read_bytes())
    os.kill(killed, signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith("rank 1 of 2: Signal 9 (SIGKILL)") and last.endswith(
        "the next start goes on from the last checkpoint"
    )
    assert not [number for number in ranks if os.path.exists(f"/proc/{number}")]
    assert not (out / "run.json").exists()
    assert "step 0/8" not in trained(tiny, out, 2)
    trained(tiny, tmp_path / "undisturbed", 1)
    assert_alike(out, tmp_path / "undisturbed")


FAILING = """
import os, sys
from pathlib import Path
from softmax_rewards.config.run import Run
from softmax_rewards.training import launch, trainer

if "LOCAL_RANK" not in os.environ:
    launch.again(2)
if os.environ["LOCAL_RANK"] == "1":
    def broken(*arguments, **options):
        raise trainer.checkpoint.torch.OutOfMemoryError("no room on this device")
    trainer.Steps.collect = broken
trainer.train(Run.from_json(sys.argv[1]), *map(Path, sys.argv[2:]))
"""


@pytest.mark.slow
def test_what_fails_on_one_rank_is_said_and_not_that_the_others_miss_it(tiny, tmp_path):
    run, data, base = tiny
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    command = [sys.executable, script, run.to_json(), data, base, tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "rank 1 of 2: OutOfMemoryError: the device is out of memory; of training, lower max_microbatch"
    )
    assert "no room on this device" in last


@pytest.mark.slow
def test_the_first_failure_of_a_rank_is_said_in_one_line(tiny, tmp_path):
    given = configured(tiny, learning_rate=1e30)
    process = start(given, tmp_path / "wild", 2)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "of 2: FloatingPointError: training has diverged" in errors.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_gpus_train_as_one_does(tiny, tmp_path, precision):
    """Sums are rounded in another order there; bfloat16 weights have float32 masters only where there are several."""
    given = configured(tiny, steps=4, device="cuda", precision=precision)
    for gpus in (1, 2):
        trained(given, tmp_path / str(gpus), gpus)
    ours, theirs = (pd.read_csv(tmp_path / str(gpus) / "metrics.csv") for gpus in (1, 2))
    names = ["loss", "grad_norm", "entropy", "reward"]
    rtol = 1e-3 if precision == "float32" else 0.1
    np.testing.assert_allclose(ours.loc[0, names], theirs.loc[0, names], rtol=rtol, atol=1e-3)
    assert theirs["tokens"].is_monotonic_increasing and np.isfinite(theirs[names]).all(axis=None)


def until(true) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("total", [0, 1, 5, 7, 64])
def test_shares_are_all_there_is_and_differ_by_one_at_most(count, total):
    shares = [World(index, count).share(total) for index in range(count)]
    assert [one for share in shares for one in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"gpus": 0}, "training.gpus"),
        ({"gpus": 4, "prompts_per_step": 3}, "training.prompts_per_step"),
        ({"gpus": 2, "optimizer_state": "host"}, "training.optimizer_state"),
    ],
)
def test_what_does_not_go_with_several(settings, key):
    with pytest.raises(ConfigError, match=rf"^{key}: "):
        Training(**settings)


def test_the_number_of_gpus_is_no_part_of_what_a_run_depends_on(tiny):
    run = tiny[0]
    more = dataclasses.replace(run, training=dataclasses.replace(run.training, gpus=4))
    assert more.to_json() == run.to_json()
