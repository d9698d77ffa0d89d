"""The pipeline on a SLURM cluster: devices, a training job that is cancelled in the middle, and its resumption."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import slurm_cluster
import yaml
from repository import NOTEBOOKS, ROOT, Repository

PROFILES = {name: yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text()) for name in ("default", "slurm")}
STEPS, PATIENCE = 300, 1200
LEASE = (
    "import os, time; from softmax_rewards.common import devices\n"
    "print(devices.lease(), os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(8)"
)


def test_the_profile_keeps_what_the_default_one_sets():
    aside = {"cores", "quiet"}  # nodes bring their own cores; a failed job is told of
    kept = {key: value for key, value in PROFILES["default"].items() if key not in aside}
    assert kept.items() <= PROFILES["slurm"].items()
    assert set(PROFILES["slurm"]["quiet"]) == set(PROFILES["default"]["quiet"]) - {"rules"}


@pytest.fixture(scope="module", params=[1])
def cluster(request, tmp_path_factory):
    """The environment of a cluster with `params` nodes."""
    if absent := slurm_cluster.missing():
        pytest.skip(f"no SLURM here: {', '.join(absent)} not found (Debian: apt-get install slurm-wlm munge)")
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed (pip install -e '.[slurm]')")
    with slurm_cluster.cluster(tmp_path_factory.mktemp("cluster"), request.param) as environment:
        yield environment


@pytest.mark.slow
def test_jobs_have_a_device_each_and_take_no_lease(cluster, tmp_path):
    environment = cluster | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    (tmp_path / "job.py").write_text(LEASE)
    command = f"srun -n1 --gpus=1 {sys.executable} {tmp_path}/job.py"
    for name in ("one", "two"):
        submit = ["sbatch", "--gpus=1", "--mem=1000", f"--output={tmp_path}/{name}.txt", f"--wrap={command}"]
        subprocess.run(submit, env=environment, check=True, capture_output=True)
    wait_until(lambda: not slurm_cluster.jobs(environment, "all active"))
    said = sorted((tmp_path / f"{name}.txt").read_text().strip() for name in ("one", "two"))
    assert said == ["None 0", "None 1"]
    assert not (tmp_path / "softmax-rewards-gpus").exists()


@pytest.mark.slow
def test_a_cancelled_training_job_is_submitted_again_and_resumes(cluster, tmp_path):
    repository = Repository(tmp_path / "repository")
    experiment = repository.folder / "tests/smoke/smoke.yaml"
    settings = yaml.safe_load(experiment.read_text())
    settings["training"] |= {"device": "auto", "steps": STEPS}
    settings["evaluation"]["every"] = STEPS // 2
    experiment.write_text(yaml.safe_dump(settings))
    environment = cluster | {"PYTHONPATH": str(repository.folder), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--latency-wait", "5"]
    command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
    command += ["--slurm-keep-successful-logs"]
    run = repository.folder / "results/smoke/runs/baseline/seed-0"
    with (tmp_path / "output").open("w") as output:
        snakemake = subprocess.Popen(
            command, cwd=repository.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until(lambda: list(run.glob("state/checkpoint-*")) or snakemake.poll() is not None)
            # It would end while SLURM is asked for its number. To cancel a stopped job, SLURM continues it first.
            for process in processes(f"{run.relative_to(repository.folder)}/run.json"):
                process.suspend()
            trained = "|RUNNING|rule_train_wildcards_smoke_baseline_0"
            (job,) = [line.split("|")[0] for line in slurm_cluster.jobs(environment, "all") if line.endswith(trained)]
            subprocess.run(["scancel", job], env=environment, check=True)
            snakemake.wait(timeout=PATIENCE)
        finally:
            snakemake.kill()  # asked to end it would wait for its jobs, which the cluster ends with itself
            snakemake.wait()
    said = (tmp_path / "output").read_text()
    assert snakemake.returncode == 0, said

    states = dict(line.split("|")[:2] for line in slurm_cluster.jobs(environment, "all"))
    assert [number for number, state in states.items() if state != "COMPLETED"] == [job]
    assert states[job] == "CANCELLED" and f"SLURM-job '{job}' failed" in said
    logs = repository.folder / ".snakemake/slurm_logs/rule_train/smoke_baseline_0"
    steps = {log.stem: re.findall(r"\[train\] .* step (\d+)/", log.read_text()) for log in logs.glob("*.log")}
    again = max(steps, key=int)
    assert set(steps) == {job, again}
    # What was done before is not done again.
    assert steps[job][:1] == ["0"] and "0" not in steps[again] and steps[again][-1:] == [str(STEPS)]

    assert len(list((repository.folder / "results/smoke/report").glob("*.html"))) == NOTEBOOKS
    assert not (tmp_path / "softmax-rewards-gpus").exists()


NODES = """
set-resources:
  train: {nodes: 2, tasks: 2, mpi: srun, cpus_per_task: 1}
"""


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [2], indirect=True)
def test_a_run_of_two_processes_on_two_nodes(cluster, tmp_path):
    repository = Repository(tmp_path / "repository")
    experiment = repository.folder / "tests/smoke/smoke.yaml"
    settings = yaml.safe_load(experiment.read_text())
    settings["training"] |= {"gpus": 2}
    experiment.write_text(yaml.safe_dump(settings))
    profile = repository.folder / "profiles/slurm/config.yaml"
    profile.write_text(profile.read_text() + NODES)
    environment = cluster | {"PYTHONPATH": str(repository.folder), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    run = "results/smoke/runs/baseline/seed-0/run.json"
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--latency-wait", "5"]
    command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
    command += ["--slurm-keep-successful-logs", "--", run]
    done = subprocess.run(command, cwd=repository.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((repository.folder / run).read_text())["gpus"] == 2
    (log,) = (repository.folder / ".snakemake/slurm_logs/rule_train").rglob("*.log")
    assert "step 4/4" in log.read_text()
    nodes = list(Path(cluster["SLURM_CONF"]).parent.glob("*-slurmd.log"))
    assert len(nodes) == 2 and all("launch task StepId=" in node.read_text() for node in nodes)


def processes(argument: str) -> list[psutil.Process]:
    """The training processes with this argument."""
    every = psutil.process_iter(["cmdline"])
    return [
        process for process in every if {argument, "workflow/scripts/train.py"} <= set(process.info["cmdline"] or [])
    ]


def wait_until(happened) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"not within {PATIENCE} s"
        time.sleep(0.2)
