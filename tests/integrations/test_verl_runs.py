"""verl's own trainer with the launch of `examples/verl`, on processors: one Ray node, and two in network namespaces.

`make test-verl` makes the environment, with verl's earlier releases beside it, and runs this file.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from importlib import metadata, util
from pathlib import Path

import numpy as np
import pytest

from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.models.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "verl"
DOCUMENT = (ROOT / "docs" / "other-trainers.md").read_text(encoding="utf-8")
SUCCESS = "val-core/countdown/acc/mean@1"
STEPS, GROUP, TOKENS = 2, 8, 48
# The rate is so high that old weights in the sampler would be seen in the log.
SHORT = (
    f"trainer.total_training_steps={STEPS}",
    f"trainer.test_freq={STEPS}",
    f"data.max_response_length={TOKENS}",
    "actor_rollout_ref.actor.optim.lr=2e-3",
)
# Ray gives its own processes 30 seconds to start. A busy machine needs more.
PATIENT = {
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_gcs_server_request_timeout_seconds": "600",
}
NODES = ("10.97.31.1", "10.97.31.2")
PORT = 6379

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not util.find_spec("verl"), reason="verl is not installed; `make test-verl` does it"),
]


def environment(**variables):
    return {**os.environ, **PATIENT, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def run(*command, **options):
    """The output of a command, which must succeed."""
    options = {"cwd": ROOT, "env": environment(), **options}
    done = subprocess.run(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The folder with the embedded model of the smoke experiment and its puzzles."""
    folder = tmp_path_factory.mktemp("inputs")
    smoke = ROOT / "tests" / "smoke" / "smoke.yaml"
    run(sys.executable, EXAMPLE / "cpu" / "model.py", smoke, folder / "model")
    run(sys.executable, EXAMPLE / "data.py", smoke, folder / "data")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def train(inputs, runs, ablation, *overrides, before=(), **variables):
    """What verl printed. Its log and rollouts are in `runs`/`ablation`/seed-0."""
    variables |= {
        "ABLATION": ablation,
        "SEED": "0",
        "RUNS": str(runs),
        "MODEL": str(inputs / "model"),
        "DATA": str(inputs / "data"),
        "LAUNCH": f"{shlex.quote(sys.executable)} -m verl.trainer.main_ppo",
    }
    command = [*before, "bash", EXAMPLE / "cpu" / "countdown.sh", *SHORT, *overrides]
    return run(*command, cwd=inputs, env=environment(**variables))


@pytest.fixture(scope="module")
def one_node(inputs, runs):
    train(inputs, runs, "softmax_centered", "+algorithm.softmax_rewards.tau=0.5")
    return runs / "softmax_centered" / "seed-0"


@pytest.fixture(scope="module")
def two_nodes(inputs, runs):
    """The run, after a look at where its samplers lived."""
    with cluster() as first:
        printed = train(
            inputs, runs, "linear", "trainer.nnodes=2", before=first, RAY_ADDRESS=f"{NODES[0]}:{PORT}", **BETWEEN_NODES
        )
    servers = re.findall(r"LLMServerManager: (\[.*\])", printed)  # Ray can repeat a line
    assert set(servers) == {str([f"{node}/{rank}" for rank, node in enumerate(NODES)])}
    return runs / "linear" / "seed-0"


# Ray's nodes would have to share a token. gloo would look for the address of the host's name.
BETWEEN_NODES = {"RAY_AUTH_MODE": "disabled", "GLOO_SOCKET_IFNAME": "eth0"}


@contextlib.contextmanager
def cluster():
    """Two Ray nodes in network namespaces. Yields the beginning of a command that runs on the first."""
    spaces = [f"verl-{os.getpid()}-{rank}" for rank in range(2)]
    with contextlib.ExitStack() as stack:
        for space in spaces:
            try:
                subprocess.run(["ip", "netns", "add", space], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("network namespaces need root and `ip`")
            stack.callback(run, "ip", "netns", "del", space)
        run("ip", "link", "add", "eth0", "netns", spaces[0], "type", "veth", "peer", "name", "eth0", "netns", spaces[1])
        # A path to a socket has at most 107 characters, and pytest's folders are long.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        for rank, (space, address) in enumerate(zip(spaces, NODES, strict=True)):
            for words in (f"addr add {address}/24 dev eth0", "link set lo up", "link set eth0 up"):
                run("ip", "-n", space, *words.split())
            # Ray finds its own address by a route to somewhere else.
            run("ip", "-n", space, "route", "add", "default", "via", NODES[1 - rank])
            stack.callback(stop, space)
            head = f"--head --port {PORT} --temp-dir {folder} --include-dashboard false"
            start_ray(space, f"--node-ip-address {address} {head if rank == 0 else f'--address {NODES[0]}:{PORT}'}")
        yield ("ip", "netns", "exec", spaces[0])


def start_ray(space, role):
    """Start a Ray node. It dies if its agents take 15 seconds, as on a busy machine; then it is tried again."""
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-gpus", "1", "--num-cpus", "7"]
    command = ["ip", "netns", "exec", space, *ray, *role.split()]
    for _ in range(5):
        done = subprocess.run(command, env=environment(**BETWEEN_NODES), capture_output=True, text=True)
        if done.returncode == 0:
            return
        stop(space)
    pytest.fail((done.stdout + done.stderr)[-3000:])


def stop(space):
    """End what still runs in a network namespace."""
    for process in run("ip", "netns", "pids", space).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("fixture", "weighting"),
    [("one_node", {"scheme": "softmax_centered", "tau": 0.5}), ("two_nodes", {"scheme": "linear"})],
)
def test_the_weights_are_those_of_the_rollouts(fixture, weighting, request, inputs):
    folder = request.getfixturevalue(fixture)
    scheme = Scheme(weighting, (0.0, 1.1), 1.0)
    tokenizer = Tokenizer(inputs / "model")
    logged = {row["step"]: row["data"] for row in lines(folder / "log.jsonl")}
    for step in range(1, STEPS + 1):
        rows = lines(folder / "rollouts" / f"{step}.jsonl")
        # verl writes <group>_<sample>_<output> as uid; the group has one prompt.
        groups = [row["uid"].rsplit("_", 2)[0] for row in rows]
        assert set(Counter(groups).values()) == {GROUP} and len(rows) == 8 * GROUP
        assert len(set(zip(groups, (row["input"] for row in rows), strict=True))) == 8
        rewards = np.array([row["score"] for row in rows])
        weights = scheme.weights(rewards, scheme.right(rewards), np.array(groups))
        assert weights.any()
        # An answer ends with a token that is not in its text, unless the limit cut it. A few more can be inside.
        lengths = [min(len(tokenizer.encode(row["output"])) + 1, TOKENS) for row in rows]
        hidden = round(logged[step]["response_length/mean"] * len(rows)) - sum(lengths)
        assert 0 <= hidden < len(rows) / 4
        found = {name: logged[step][f"critic/advantages/{name}"] for name in ("min", "max", "mean")}
        assert [found["min"], found["max"]] == pytest.approx([weights.min(), weights.max()], rel=1e-5, abs=1e-6)
        slack = 1e-5 + 2 * hidden * abs(weights).max() / sum(lengths)
        assert found["mean"] == pytest.approx(np.average(weights, weights=lengths), abs=slack)


@pytest.mark.parametrize("fixture", ["one_node", "two_nodes"])
def test_the_sampler_has_the_weights_that_are_trained(fixture, request):
    """Sampler and trainer agree on the probability of every token, also after an update."""
    folder = request.getfixturevalue(fixture)
    logged = {row["step"]: row["data"] for row in lines(folder / "log.jsonl")}
    for step in range(1, STEPS + 1):
        assert logged[step]["training/rollout_probs_diff_max"] < 1e-4
        assert logged[step]["actor/grad_norm"] > 0


def test_the_logs_are_read_by_our_commands(one_node, two_nodes, runs):
    for folder in (one_node, two_nodes):
        said = run(sys.executable, "-m", "softmax_rewards", "advise", folder / "rollouts")
        assert said.startswith("verl log: ")
    judged = run(sys.executable, "-m", "softmax_rewards", "judge", runs, "--success", SUCCESS)
    assert re.search(r"^softmax_centered +auc +1 ", judged, re.MULTILINE)


# ---- which releases ------------------------------------------------------------------------------

ESTIMATORS, LAUNCH, PROCESSORS = "Schemes as estimators", "`examples/verl/countdown.sh`", "`examples/verl/cpu/`"
RELEASES = sorted(Path(os.environ.get("VERL_RELEASES", ROOT / ".venv-verl" / "releases")).glob("*"))


def listed(part):
    """The releases that the document names for a part."""
    (row,) = re.findall(rf"^\| {re.escape(part)}.*\| ([\d., ]+) \|$", DOCUMENT, re.MULTILINE)
    return row.split(", ")


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_the_document_says_for_which_releases_schemes_are_registered(release):
    code = (
        # Releases before 0.7.1 import a class by a name that Transformers 5 no longer has.
        "import transformers; transformers.AutoModelForVision2Seq = transformers.AutoModelForImageTextToText\n"
        "from verl.trainer.ppo import core_algos; from softmax_rewards import weighting\n"
        "try: found = [core_algos.get_adv_estimator_fn('softmax_rewards.' + name) for name in weighting.names()]\n"
        "except ValueError: found = []\n"
        "print(len(found) == len(weighting.names()))"
    )
    variables = {
        "PYTHONPATH": f"{release}:{ROOT}",
        "VERL_USE_EXTERNAL_MODULES": "softmax_rewards.integrations.verl_plugin",
    }
    said = run(sys.executable, "-c", code, env=environment(**variables)).split()[-1]
    assert said == str(release.name in listed(ESTIMATORS))


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_the_document_says_for_which_releases_the_launch_has_the_right_options(release, tmp_path):
    from hydra import compose, errors, initialize_config_dir

    variables = environment(ABLATION="linear", SEED="0", RUNS=str(tmp_path), LAUNCH="printf %s\\0")
    overrides = run("bash", EXAMPLE / "countdown.sh", env=variables).split("\0")[:-1]
    with initialize_config_dir(str(release / "verl" / "trainer" / "config"), version_base=None):
        try:
            composed = compose("ppo_trainer", overrides=overrides)
            holds = composed.algorithm.adv_estimator == "softmax_rewards.linear"
        except errors.ConfigCompositionException:
            holds = False
    assert holds == (release.name in listed(LAUNCH))


def test_the_installed_release_is_the_one_that_trains_here():
    assert listed(PROCESSORS) == [metadata.version("verl")]


@pytest.mark.skipif(not RELEASES, reason="no earlier releases beside verl; `make test-verl` puts them there")
def test_the_table_names_no_release_that_was_not_tried():
    assert {*listed(ESTIMATORS), *listed(LAUNCH), *listed(PROCESSORS)} < {release.name for release in RELEASES}


def test_the_document_names_what_verl_does_not_bring():
    """The install in verl's environment is without our requirements, but for those that verl lacks."""
    brought, waiting = set(), ["verl"]
    while waiting:
        name = waiting.pop()
        if name not in brought:
            brought.add(name)
            waiting += needed(name)
    missing = sorted(set(needed("softmax-rewards", ROOT / "pyproject.toml")) - brought)
    (told,) = re.findall(r"^    pip install --no-deps -e \. && pip install (.*?)  ", DOCUMENT, re.MULTILINE)
    assert told.split() == missing


def needed(name, project=None):
    """The names of a distribution's requirements without extras."""
    if project:
        import tomllib

        requirements = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # an optional part of verl that processors do not need
            return []
    return [re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements if "extra ==" not in line]
