"""One run on two hosts, which are two network namespaces connected by a cable: the same bytes as on one host."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softmax_rewards.config import experiments, folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "tests/smoke/smoke.yaml"
ADDRESSES = ("10.77.0.1", "10.77.0.2")
NUMBERS = (
    "metrics.csv",
    "groups.csv",
    "evaluations.csv",
    "episodes.parquet",
    "samples.jsonl",
    "model/model.safetensors",
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """(namespace, its end of the cable) of both hosts."""
    if shutil.which("ip") is None:
        pytest.skip("there is no command `ip` here (Debian: apt-get install iproute2)")
    pairs = [(f"host{number}-{os.getpid()}", f"cable{number}") for number in (0, 1)]
    try:
        try:
            for host, _ in pairs:
                ip("netns", "add", host)
            (first, one), (second, other) = pairs
            ip("-n", first, "link", "add", one, "type", "veth", "peer", "name", other, "netns", second)
            for (host, cable), address in zip(pairs, ADDRESSES, strict=True):
                ip("-n", host, "address", "add", f"{address}/24", "dev", cable)
                for device in ("lo", cable):
                    ip("-n", host, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces can be made here: {error.stderr.strip()}")
        yield pairs
    finally:
        for host, _ in pairs:
            subprocess.run(["ip", "netns", "delete", host], capture_output=True, check=False)


@pytest.fixture
def data(tiny, tmp_path):
    """The folder `data` of the pipeline, with puzzles and base model of the smoke experiment."""
    run = experiments.load(EXPERIMENT).run("baseline", 0)
    for kind, key, made in (("tasks", folders.task_key(run), tiny[1]), ("models", folders.model_key(run), tiny[2])):
        (tmp_path / "data" / kind).mkdir(parents=True)
        (tmp_path / "data" / kind / key).symlink_to(made)
    return tmp_path / "data"


def torchrun(*options: str, results: Path, data: Path) -> list[str]:
    run = ["-m", "softmax_rewards.training", str(EXPERIMENT), "baseline", "0"]
    return [
        *(sys.executable, "-m", "torch.distributed.run", *options, *run),
        *("--results", str(results), "--data", str(data)),
    ]


def test_two_hosts_train_to_the_bytes_of_one(hosts, data, tmp_path):
    started = []
    for rank, (host, cable) in enumerate(hosts):
        options = ["--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}", "--master-port=29500"]
        command = torchrun(*options, f"--master-addr={ADDRESSES[0]}", results=tmp_path / "two", data=data)
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": cable}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(["ip", "netns", "exec", host, *command], cwd=ROOT, env=environment, **pipes))
    said = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    assert "step 4/4" in said[0]
    command = torchrun("--standalone", "--nproc-per-node=2", results=tmp_path / "one", data=data)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    one, two = (tmp_path / name / "smoke/runs/baseline/seed-0" for name in ("one", "two"))
    for name in NUMBERS:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.parametrize(
    ("ablation", "seed", "said"),
    [
        ("softmx", "0", "smoke: unknown ablation 'softmx' (nearest: 'softmax-0.5')"),
        ("baseline", "7", "smoke: baseline: seed-7 is not among its seeds; allowed: 0, 1"),
        ("baseline", "0", "not made yet; make it first: snakemake "),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(tmp_path, monkeypatch, ablation, seed, said):
    from softmax_rewards.training import __main__ as command

    monkeypatch.chdir(ROOT)
    places = ["--results", str(tmp_path / "results"), "--data", str(tmp_path / "data")]
    arguments = [str(EXPERIMENT), ablation, seed, *places]
    with pytest.raises(SystemExit, match="torchrun starts this module"):
        command.main(arguments)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as error:
        command.main(arguments)
    assert said in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(SystemExit, match=r"prompts_per_step: 4 is not allowed; allowed: at least training.gpus \(9\)"):
        command.main([str(EXPERIMENT), "baseline", "0", *places])
