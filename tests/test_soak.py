"""The soak: processes of the smoke experiment are killed at random, again and again; its results stay the same bytes.

`SOAK_KILLS` sets the number of kills, `SOAK_SEED` the seed of their moments.
"""

import os
import random
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
    chance, kills, starts, rounds = random.Random(SEED), Counter(), 0, 0
    while kills.total() < KILLS:  # a round begins without a run and ends with the report
        repository = before.copy(tmp_path / f"round-{rounds}")
        try:
            main, before_start = repository.start(), kills.total()
            starts += 1
            while True:
                if kills.total() < KILLS:
                    kills += disturb(repository, main, chance, seconds / PER_START)
                else:
                    main.wait()
                if main.poll() == 0:
                    break
                if main.returncode is not None:
                    assert kills.total() > before_start, repository.said()
                    before_start = kills.total()
                    recover(repository, main)
                    main = repository.start()
                    starts += 1
        finally:
            end(repository)
        found = made(repository.folder / "results")
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        rounds += 1
    with capsys.disabled():
        each = ", ".join(f"{kills[kind]} {kind}" for kind in KINDS.values())
        print(f"\nseed {SEED}: {kills.total()} kills ({each}) in {starts} starts and {rounds} rounds")


def disturb(repository: Repository, main: subprocess.Popen, chance: random.Random, pause: float) -> Counter:
    """After a while kill a process: a kind that lives is drawn, then one of it. Returns the kind if one was hit."""
    time.sleep(chance.uniform(0, 2 * pause))
    alive = repository.processes()
    # A main process that only reads its rules is mostly spared: else hardly any job would ever begin.
    if not alive or (set(alive.values()) == {"main"} and chance.random() < 0.8):
        return Counter()
    kind = chance.choice(sorted(set(alive.values())))
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
