"""`gpu_all.sh` without a GPU: its order, what a failure changes, and the page that it ends with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu_summary
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu_all.sh"
# Stands for Python: notes its arguments, fails in the named part, and writes the page with the real one.
STANDIN = """#!/bin/sh
case "$*" in
  *gpu_summary*) exec {python} "$@" ;;
  *{failing}*) echo "no such GPU"; exit 3 ;;
  *) echo "$@" >> {calls} ;;
esac
"""


def started(folder: Path, *arguments: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [SCRIPT, folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=folder.parent)


def test_a_part_that_fails_does_not_stop_the_others(tmp_path):
    standin, calls, checkout = tmp_path / "python", tmp_path / "calls", tmp_path / "GRPO-Zero"
    standin.write_text(STANDIN.format(python=sys.executable, failing="memory.py", calls=calls))
    standin.chmod(0o755)
    checkout.mkdir()
    done = started(tmp_path / "out", checkout, PYTHON=str(standin))
    assert done.returncode == 1
    parts = [line.split()[:2] for line in (tmp_path / "out/parts.txt").read_text().splitlines()]
    steps = [[f"{kind}-{shape}", "0"] for kind in ("step", "peers") for shape in ("qwen2.5-0.5b", "qwen2.5-3b")]
    assert parts == [["tests", "0"], *steps, ["memory", "3"], ["leases", "0"]]
    assert (tmp_path / "out/memory.log").read_text() == "no such GPU\n"
    assert "| memory | failed (3) |" in done.stdout
    alone, _, beside, _ = [call for call in calls.read_text().splitlines() if "step.py" in call]
    assert "--peers" not in alone and f"--peers grpo-zero={checkout}" in beside


def test_parts_can_be_chosen_and_without_a_checkout_there_is_no_peer(tmp_path):
    done = started(tmp_path / "out", PYTHON="true", PARTS="tests peers")
    assert (tmp_path / "out/parts.txt").read_text().split()[:2] == ["tests", "0"]
    assert done.stdout.count("\n") == 1


def step_file(bandwidth: float, update: float, **peers: float) -> str:
    project = {"rollout": [2.0, 0.1, 0.5], "update": [3.0, 0.1, update], "bandwidth": bandwidth}
    trainers = {"project": project} | {name.replace("_", "-"): {"rollout": [value]} for name, value in peers.items()}
    versions = {"torch": "2.11.0", "python": "3.12.3"}
    machine = {"gpu": "NVIDIA H200", "cpu": "x", "versions": versions, "revision": "abc"}
    return json.dumps({"date": "2026-01-01", "machine": machine, "results": {"trainers": trainers}})


def test_the_page_compares_goals_and_measured_values(tmp_path):
    parts = "tests 0 12 70\nstep-3b 0 50 130\npeers-3b 0 70 140\nstep-0.5b 124 130 130\nmemory 1 3 60\n"
    (tmp_path / "parts.txt").write_text(parts)
    (tmp_path / "step-3b.json").write_text(step_file(0.61, 0.44))
    (tmp_path / "peers-3b.json").write_text(step_file(0.5, 0.5, grpo_zero=9.0))
    (tmp_path / "memory.log").write_text("model  peak\n")
    text, passed = gpu_summary.page(tmp_path)
    assert not passed
    for row in (
        "NVIDIA H200, torch 2.11.0, Python 3.12.3, 2026-01-01, abc",
        "| tests | passed | 12 | 70 |",
        "| step-0.5b | out of time | 130 | 130 |",
        "| memory | failed (1) | 3 | 60 |",
        "| 3b | rollout, share of the bandwidth limit | 60% | 61% | yes |",
        "| 3b | update, share of the product rate | 45% | 44% | no |",
        "| 3b | rollout, times as fast as GRPO-Zero | 4.0 | 4.5 | yes |",
        "| 0.5b | update, share of the product rate | 45% | – | not measured |",
        "model  peak",
    ):
        assert row in text.splitlines()


@pytest.mark.slow
def test_a_step_can_be_tried_on_a_processor(tmp_path):
    options = "--prompts 2 --samples 2 --longest 8 --threads 1"
    done = started(tmp_path / "out", PYTHON=sys.executable, PARTS="step", SHAPES="long", DEVICE="cpu", STEP=options)
    assert done.returncode == 0, (tmp_path / "out/step-long.log").read_text()
    assert "| long | rollout, share of the bandwidth limit | 60% |" in (tmp_path / "out/summary.md").read_text()
