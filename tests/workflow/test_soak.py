"""The soak: processes of the smoke experiment are killed at random, again and again; its results stay the same bytes.

`SOAK_KILLS` sets the number of kills, `SOAK_SEED` the seed of their moments.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

import pytest
from repository import KINDS, Repository
from test_faults import end, made, succeeded

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("SOAK_KILLS", "200"))
SEED = int(os.environ.get("SOAK_SEED", "0"))
ROUNDS = 4
PER_START = 20  # kills in the time of an undisturbed start, on average


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Repository, Repository, float]:
    """The repository before the first training and after the last page, and the seconds between."""
    before = Repository(tmp_path_factory.mktemp("before") / "repository")
    succeeded(before.snakemake("--until", "base_model", "weight_analysis", "bandit"))
    after = before.copy(tmp_path_factory.mktemp("after") / "repository")
    began = time.monotonic()
    succeeded(after.snakemake())
    return before, after, time.monotonic() - began


def test_random_kills_change_no_byte(undisturbed, tmp_path, capsys):
    before, after, seconds = undisturbed
    expected = made(after.folder / "results")
    chance, kills, starts = random.Random(SEED), Counter(), 0
    for number in range(ROUNDS):
        # By turns nothing is trained yet, and everything: else hardly a kill would hit what comes after training.
        repository = (after if number % 2 else before).copy(tmp_path / f"round-{number}")
        for part in ("summary", "report"):
            shutil.rmtree(repository.folder / "results/smoke" / part, ignore_errors=True)
        try:
            starts += disturbed(repository, kills, KILLS * (number + 1) // ROUNDS, chance, seconds / PER_START)
        finally:
            end(repository)
        found = made(repository.folder / "results")
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
    with capsys.disabled():
        each = ", ".join(f"{kills[kind]} {kind}" for kind in KINDS.values())
        print(f"\nseed {SEED}: {kills.total()} kills ({each}) in {starts} starts and {ROUNDS} rounds")


def disturbed(repository: Repository, kills: Counter, until: int, chance: random.Random, pause: float) -> int:
    """Start again and again, killing, until all is made and there were `until` kills in all; returns the starts."""
    starts, killed = 1, kills.total()
    main = repository.start()
    while True:
        if kills.total() < until:
            kills += disturb(repository, main, chance, pause)
        else:
            main.wait()
        if main.poll() == 0 and kills.total() < until:  # made in spite of all: once more
            for part in ("summary", "report"):
                shutil.rmtree(repository.folder / "results/smoke" / part)
        elif main.poll() == 0:
            return starts
        if main.poll() is not None:
            assert main.returncode == 0 or kills.total() > killed, repository.said()
            recover(repository, main)
            killed, starts, main = kills.total(), starts + 1, repository.start()


def disturb(repository: Repository, main: subprocess.Popen, chance: random.Random, pause: float) -> Counter:
    """After a while kill a process: a kind that lives is drawn, then one of it. Returns the kind if one was hit."""
    time.sleep(chance.uniform(0, 2 * pause))
    alive = repository.processes()
    # The main process is mostly spared: else hardly any job would begin, and fewer end.
    if not alive or (set(alive.values()) == {"main"} and chance.random() < 0.8):
        return Counter()
    jobs = sorted(set(alive.values()) - {"main"})
    kind = chance.choice(jobs) if jobs and chance.random() < 0.8 else "main"
    if kind not in alive.values():
        return Counter()
    victim = chance.choice(sorted(process for process, own in alive.items() if own == kind))
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return Counter()
    if victim == main.pid:
        main.wait()
    return Counter({kind: 1})


def recover(repository: Repository, main: subprocess.Popen) -> None:
    """What a user does after a killed start: wait until its jobs have ended, and remove the lock that it left."""
    if main.returncode == -signal.SIGKILL:
        while repository.processes():
            time.sleep(0.05)
        succeeded(repository.snakemake("--unlock"))
