"""What goes wrong from outside, through the real Snakefile: killed processes, full and read-only disks, wrong clocks.

After each fault nothing finished is lost, nothing half written counts as finished, the message says what to do, and
the result has the bytes of an undisturbed one.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from repository import Repository, contents, wait_until

pytestmark = pytest.mark.slow

VERDICTS = "results/smoke/summary/verdicts.csv"
PAGE = "results/smoke/report/bandit.html"
RUN = "results/smoke/runs/softmax-0.5/seed-1"
STEPS = 60  # long enough for a kill in the middle
OTHER_EACH_TIME = {"timing.csv", "timing.json", ".lock", "state.json"}
NAMESPACE = ["unshare", "--mount", "--map-root-user"]  # what is mounted in it ends with it
TRIAL = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
LEASE = "import time; from softmax_rewards.common import devices; print(devices.lease(), flush=True); time.sleep(3600)"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Repository:
    """Data, base model and analysis are made, and nothing is trained yet."""
    repository = Repository(tmp_path_factory.mktemp("prepared") / "repository")
    experiment = repository.folder / "tests/smoke/smoke.yaml"
    settings = yaml.safe_load(experiment.read_text())
    settings["training"] |= {"steps": STEPS}
    settings["evaluation"]["every"] = STEPS // 2
    experiment.write_text(yaml.safe_dump(settings))
    succeeded(repository.snakemake("--until", "base_model", "weight_analysis", "bandit"))
    return repository


@pytest.fixture(scope="module")
def undisturbed(prepared, tmp_path_factory) -> Repository:
    """All runs, their summary and a page, made without a fault."""
    repository = prepared.copy(tmp_path_factory.mktemp("undisturbed") / "repository")
    succeeded(repository.snakemake(VERDICTS, PAGE))
    return repository


@pytest.fixture
def repository(prepared, tmp_path):
    """A copy of `prepared`; what still works in it ends with the test."""
    twin = prepared.copy(tmp_path / "repository")
    yield twin
    end(twin)


@pytest.fixture
def complete(undisturbed, tmp_path):
    """A copy of `undisturbed`; what still works in it ends with the test."""
    twin = undisturbed.copy(tmp_path / "repository")
    yield twin
    end(twin)


def end(repository: Repository) -> None:
    for process in repository.processes():
        os.kill(process, signal.SIGKILL)


def succeeded(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def made(results: Path) -> dict[str, bytes]:
    """Tables, weights and pages; the logs and what another start may go by are left out."""
    parts = ("analysis", "runs", "summary", "report")
    files = {f"{part}/{name}": text for part in parts for name, text in contents(results / "smoke" / part).items()}
    # A killed training job may not have evaluated the model. Then the rule `evaluate` has done it.
    kept = {name: text for name, text in files.items() if "/finished/" not in name and "/evaluation/" not in name}
    return {name: text for name, text in kept.items() if Path(name).name not in OTHER_EACH_TIME}


def same(results: Path, undisturbed: Repository, *, page: bool = False) -> bool:
    """Whether `results` has the files of the undisturbed ones and no others, byte for byte; the page only if asked."""
    found, expected = made(results), made(undisturbed.folder / "results")
    if not page:
        expected = {name: text for name, text in expected.items() if not name.startswith("report/")}
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    return True


def checkpoints(repository: Repository) -> list[Path]:
    """Checkpoints of runs that are under way."""
    return list(repository.folder.glob("results/smoke/runs/*/*/state/checkpoint-*"))


def of_kind(repository: Repository, kind: str) -> list[int]:
    return [process for process, own in repository.processes().items() if own == kind]


def in_the_middle(repository: Repository, *arguments: str) -> subprocess.Popen:
    """Start Snakemake and wait until a run has a checkpoint."""
    main = repository.start(*arguments)
    wait_until(lambda: checkpoints(repository) or main.poll() is not None)
    assert main.poll() is None, repository.said()
    return main


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_a_killed_training_job_resumes_and_the_others_go_on(repository, undisturbed):
    main = in_the_middle(repository, VERDICTS)
    run = checkpoints(repository)[0].parents[1]
    kill(int((run / ".lock").read_text().split()[0]))
    assert main.wait() == 1
    assert re.search(r"train\.py (.|\n)*returned non-zero exit status", repository.said())
    assert len(list(repository.folder.glob("results/smoke/runs/*/*/run.json"))) == 3
    assert not (run / "run.json").exists()
    said = succeeded(repository.snakemake(VERDICTS))
    assert set(re.findall(r"\[train\] run . of 4  (\S+ \S+)", said)) == {f"{run.parent.name} {run.name}"}
    assert "step 0/" not in said
    assert same(repository.folder / "results", undisturbed)


def test_jobs_of_a_killed_main_process_are_named_and_waited_for(repository, undisturbed):
    main = in_the_middle(repository, VERDICTS)
    main.kill()
    main.wait()
    orphans = of_kind(repository, "train")
    assert orphans
    for process in orphans:
        os.kill(process, signal.SIGSTOP)
    named = [f"process {process} (train.py)" for process in orphans]
    said = refused(repository.snakemake(VERDICTS))
    assert all(name in said for name in named) and "then run `snakemake --unlock` and start again" in said
    succeeded(repository.snakemake("--unlock"))
    said = refused(repository.snakemake(VERDICTS))  # Snakemake itself would now start a second job of the same run
    assert all(name in said for name in named) and "wait for them or stop them" in said
    for process in orphans:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: not of_kind(repository, "train"))
    succeeded(repository.snakemake(VERDICTS))
    assert same(repository.folder / "results", undisturbed)


def test_a_lock_that_a_killed_main_process_left_is_explained(repository):
    main = in_the_middle(repository, VERDICTS)
    os.killpg(main.pid, signal.SIGKILL)  # its shells as well: one of them could be about to start a job
    main.wait()
    wait_until(lambda: not repository.processes())
    said = refused(repository.snakemake(VERDICTS))
    assert "[workflow] results: nothing is at work here; " in said
    assert "a killed one left its lock: run `snakemake --unlock` and start again" in said


def test_a_killed_process_of_the_report_leaves_no_page(complete, undisturbed):
    page = complete.folder / PAGE
    shutil.rmtree(complete.folder / "results/smoke/logs/report")
    page.unlink()
    for chosen in (min, max):  # the job, and a process that it forked
        main = complete.start(PAGE)
        wait_until(lambda: len(of_kind(complete, "pages")) > 1)
        kill(chosen(of_kind(complete, "pages")))
        assert main.wait() == 1, complete.said()
        assert not page.exists() and not page.with_suffix(".ipynb").exists()
        wait_until(lambda: not of_kind(complete, "pages"), patience=60)
    assert "its process ended before the page was made" in complete.said()
    succeeded(complete.snakemake(PAGE))
    assert same(complete.folder / "results", undisturbed, page=True)


def test_two_processes_on_one_results_folder(repository, undisturbed, tmp_path):
    twin = repository.copy(tmp_path / "elsewhere")
    places = [f"{name}={repository.folder / name}" for name in ("results", "data")]
    targets = (str(repository.folder / VERDICTS), "--config", *places)
    main = in_the_middle(repository, *targets)
    named = f"{repository.folder / 'results'}: process {main.pid} (snakemake) is at work here"
    training = of_kind(repository, "train")
    for process in training:  # it is still at work however slow the others start
        os.kill(process, signal.SIGSTOP)
    for other in (repository, twin):
        assert named in refused(other.snakemake(*targets))
    for process in training:
        os.kill(process, signal.SIGCONT)
    assert main.wait() == 0, repository.said()
    assert same(repository.folder / "results", undisturbed)


@pytest.mark.parametrize("how", ["SIGTERM", "Control-C"])
def test_who_is_asked_to_end_saves_what_was_done(repository, undisturbed, how):
    main = in_the_middle(repository, VERDICTS)
    if how == "SIGTERM":
        main.terminate()  # the main process alone, which passes it on
    else:
        os.killpg(main.pid, signal.SIGINT)  # as a terminal does: everything that it started
    assert main.wait() == 1
    assert not repository.processes()
    stopped = {folder.parents[1] for folder in checkpoints(repository)}
    assert stopped and not any((run / "run.json").exists() for run in stopped)
    assert "stopped on request after step" in repository.said()
    said = succeeded(repository.snakemake(VERDICTS))
    for run in stopped:
        assert not re.search(rf"{run.parent.name} {run.name}  step 0/", said)
    assert same(repository.folder / "results", undisturbed)


def namespace(script: str, repository: Repository, *arguments: str) -> subprocess.CompletedProcess:
    """Run a bash script, as root of its own mounts, where `$@` is Snakemake's command."""
    if shutil.which("unshare") is None or subprocess.run(TRIAL, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here: unshare --mount --map-root-user is refused")
    command = [*NAMESPACE, "bash", "-euc", script, "bash", *repository.command(*arguments)]
    return subprocess.run(command, cwd=repository.folder, env=repository.environment(), capture_output=True, text=True)


def test_results_on_a_read_only_file_system_are_refused_before_anything_runs(repository):
    script = 'mount -t tmpfs -o size=1m tmpfs results; mount -o remount,ro results; exec "$@"'
    done = namespace(script, repository, VERDICTS)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert said == [
        "config/config.yaml: results: results cannot be written (Read-only file system); "
        "allowed: a folder that can be written, or made"
    ]


@pytest.mark.parametrize(
    ("target", "folder", "file"), [(VERDICTS, "summary", "metrics.csv"), (PAGE, "report", "bandit.ipynb")]
)
def test_a_full_disk_is_told_and_with_room_again_the_work_goes_on(complete, undisturbed, target, folder, file):
    full = complete.folder / "results/smoke" / folder
    shutil.rmtree(full)
    full.mkdir()
    aside = complete.folder / "results" / "aside"  # on the disk that has room
    script = f"""
        mount -t tmpfs -o size=8k tmpfs {full}
        "$@" && exit 3
        ls -A {full} > listed
        mount -o remount,size=64m {full}
        "$@"
        cp -a {full} {aside}
    """
    done = namespace(script, complete, target)
    said = succeeded(done)
    assert "No space left on device" in said and file in said
    assert [name for name in (complete.folder / "listed").read_text().split() if name[0] != "."] == []
    full.rmdir()
    aside.rename(full)
    assert same(complete.folder / "results", undisturbed, page=True)


def test_runs_of_different_code_are_refused_when_snakemake_has_forgotten_them(complete):
    scheme = complete.folder / "softmax_rewards/weighting/schemes/softmax.py"
    scheme.write_text(scheme.read_text() + "\nEXTRA = 1\n")
    shutil.rmtree(complete.folder / ".snakemake")
    shutil.rmtree(complete.folder / RUN)
    (complete.folder / VERDICTS).unlink()  # where it is there, nothing asks for the run
    said = refused(complete.snakemake(VERDICTS))
    message = "runs with different code of scheme softmax cannot be compared; make them again"
    assert f"{message}: softmax-0.5/seed-0; softmax-0.5/seed-1" in said
    shutil.rmtree(complete.folder / RUN.replace("seed-1", "seed-0"))
    succeeded(complete.snakemake(VERDICTS))


def test_no_time_stamp_makes_anything_be_done_again_or_thrown_away(complete, undisturbed):
    chance, now = random.Random(0), time.time()
    for place in ("results", "data"):
        for file in sorted((complete.folder / place).rglob("*")):
            then = now + chance.uniform(-1, 1) * 10 * 365 * 86400
            os.utime(file, (then, then))
    done = complete.snakemake("--dry-run", VERDICTS, PAGE)
    assert "Nothing to be done" in succeeded(done)
    manifest = next(complete.folder.glob("data/tasks/*/manifest.json"))
    os.utime(manifest, (now + 86400, now + 86400))
    shutil.rmtree(complete.folder / RUN)
    (complete.folder / VERDICTS).unlink()
    said = succeeded(complete.snakemake(VERDICTS, PAGE))
    assert set(re.findall(r"\[train\] run . of 4  (\S+ \S+)", said)) == {"softmax-0.5 seed-1"}
    assert same(complete.folder / "results", undisturbed, page=True)


def test_a_lease_ends_with_its_process_and_not_before(repository, tmp_path):
    experiment = repository.folder / "tests/smoke/smoke.yaml"
    experiment.write_text(experiment.read_text().replace("device: cpu", "device: auto"))
    gpu = {"CUDA_VISIBLE_DEVICES": "GPU-none", "TMPDIR": str(tmp_path)}
    holders = []
    for _ in range(2):
        command, environment = [sys.executable, "-c", LEASE], repository.environment() | gpu
        for earlier in holders:  # dead, its lock file stays
            earlier.kill()
            earlier.communicate()
        holders.append(
            subprocess.Popen(command, cwd=repository.folder, env=environment, stdout=subprocess.PIPE, text=True)
        )
        assert holders[-1].stdout.readline() == "GPU-none\n"
    os.kill(holders[-1].pid, signal.SIGSTOP)
    main = repository.start(f"{RUN}/run.json", **gpu)
    wait_until(lambda: "[device] all GPUs are taken (GPU-none); waiting for one" in repository.said())
    assert main.poll() is None
    holders[-1].kill()  # a stopped process as well
    holders[-1].communicate()
    assert main.wait() == 0, repository.said()
    assert re.findall(r"step (\d+)/", repository.said()) == ["0", str(STEPS // 2), str(STEPS)]
