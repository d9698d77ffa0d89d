"""The folder of a training run: its lock, its growing logs, its checkpoints, its finished tables.

state.json                how far the run is, or how it ended (`state_file.py`)
state/                    while the run is under way: logs and the newest two checkpoints
metrics.csv … model/      written when it has finished, `run.json` last
finished/                 second names of these files, the weights not, with checksums
"""

import dataclasses
import fcntl
import json
import os
import shutil
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from softmax_rewards.common.files import (
    NotWritten,
    appearing,
    link,
    read_manifest,
    sha256,
    verify,
    write_csv,
    write_json,
    write_manifest,
    write_text,
    writing,
)
from softmax_rewards.common.terminal import log
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.ranks import ALONE, Ranks
from softmax_rewards.policy.update import Updater
from softmax_rewards.training import checkpoints
from softmax_rewards.training.run_log import RunLog

# The files that say a run has ended: `run.json`, and what `evaluate.py` adds.
FINISHED = ("run.json", "evaluation.json", "puzzles.csv")
# What a workflow that lost sight of a run deletes before it starts the run again: its declared outputs. `run.json` is
# the last to be put back.
DECLARED = (
    "metrics.csv",
    "groups.csv",
    "episodes.parquet",
    "evaluations.csv",
    "samples.jsonl",
    "timing.csv",
    "model/config.json",
    "run.json",
)
CHECKPOINTS = 2  # the newest may turn out to be damaged


class RunFolder:
    """One run's files in `out`, held by this process alone while it is open.

    `identity` says what the run depends on; a checkpoint of another identity is not resumed. Of several `ranks` only
    the first locks and writes; all of them make the same calls.
    """

    def __init__(self, out: Path, identity: str, ranks: Ranks = ALONE) -> None:
        self.out, self.state, self.identity, self.ranks = out, out / "state", identity, ranks

    def __enter__(self) -> Self:
        if not self.ranks.first:
            return self
        with writing(self.out), ExitStack() as undo:
            self.out.mkdir(parents=True, exist_ok=True)
            self._lock = undo.enter_context((self.out / ".lock").open("a+"))
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.seek(0)
                process, _, host = self._lock.read().strip().partition(" ")
                raise RuntimeError(
                    f"{self.out}: process {process or 'unknown'} is training this run on {host or 'an unknown host'};"
                    " wait for it or stop it"
                ) from None
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._lock.flush()
            # What an earlier run left here must not be taken for this one's, should this one be cut short.
            for name in FINISHED:
                (self.out / name).unlink(missing_ok=True)
            self.log = RunLog(self.state)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ranks.first:
            return
        if isinstance(error, NotWritten):
            newest = checkpoints.newest_first(self.state)[:1]
            step = f"goes on from step {checkpoints.steps(newest[0])}" if newest else "begins anew"
            error.then = f": the run {step}"
        with self._lock:
            try:
                self.log.close()
            except NotWritten:
                if error is None:  # else it would hide the first one
                    raise

    def restore(self) -> bool:
        """Put the files of a run that has ended here back in their places; False unless it was this very run, whole."""
        return self.ranks.any(self.ranks.first and self._restored())

    def _restored(self) -> bool:
        kept, model = self.out / "finished", self.out / "model"
        if not kept.is_dir():
            return False
        try:
            facts = checkpoints.read(kept)
            self._expect(facts, kept)
            verify(model, facts["model"])
        except ValueError as error:
            log("train", f"{error}; the run that ended here is not taken")
            shutil.rmtree(kept)
            return False
        for name in DECLARED:
            link(kept / name, self.out / name)
            os.utime(self.out / name)  # older than its inputs, it would count as out of date
        self._drop_state()
        log("train", f"{self.out}: this run had ended, with the same code, data and settings; its files are back")
        return True

    def resume(self, updater: Updater) -> tuple[int, int]:
        """Load the newest whole checkpoint into `updater`: (updates done, tokens generated), or (0, 0).

        Those that are damaged, or whose logs are, are deleted.
        """
        found, state = self.ranks.gather(self._found() if self.ranks.first else None)[0]
        if found:
            checkpoints.load(found, updater)
            updater.limits = Limits(**state["limits"])
        return state["step"], state["tokens"]

    def _found(self) -> tuple[Path | None, dict[str, Any]]:
        """The newest whole checkpoint and its facts, with the logs cut back to it."""
        problems: dict[Path, ValueError] = {}
        found, state = None, {"step": 0, "tokens": 0}
        for folder in checkpoints.newest_first(self.state):
            try:
                facts = checkpoints.read(folder)
                self._expect(facts, folder)
                self.log.truncate(facts["log"])
            except ValueError as error:
                problems[folder] = error
            else:
                found, state = folder, facts
                break
        for folder, problem in problems.items():
            log("train", f"{problem}; {f'going on from {found.name}' if found else 'starting anew'}")
            checkpoints.discard(folder)
        if not found:
            self.log.clear()
        return found, state

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Add a row to one of the run's logs."""
        if self.ranks.first:
            self.log.append(table, row)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of one of the run's logs so far."""
        return self.ranks.gather(self.log.rows(table) if self.ranks.first else [])[0]

    def checkpoint(self, step: int, tokens: int, updater: Updater) -> None:
        """Save everything the run needs to go on after `step` updates, then drop older checkpoints but one."""
        if self.ranks.first:
            self._save(step, tokens, updater)
        else:
            for _ in updater.state():  # of which each rank has a share
                pass
        self.ranks.gather(None)  # none ends before it is written

    def _save(self, step: int, tokens: int, updater: Updater) -> None:
        facts = {"step": step, "tokens": tokens, "identity": self.identity, "log": self.log.marks()}
        checkpoints.write(self.state, step, updater, facts | {"limits": dataclasses.asdict(updater.limits)})
        for folder in checkpoints.newest_first(self.state)[CHECKPOINTS:]:
            checkpoints.discard(folder)

    def _expect(self, facts: dict[str, Any], folder: Path) -> None:
        if facts.get("identity") != self.identity:
            raise ValueError(f"{folder} is of other code, data or settings")

    def finish(self, policy: Decoder, base: Path, record: dict[str, Any]) -> None:
        """Write the final weights and tables; `run.json`, which marks the run as finished, comes last."""
        if not self.ranks.first:
            return
        model = self.out / "model"
        shutil.rmtree(model, ignore_errors=True)  # of an earlier run, perhaps from another base
        model.mkdir()
        for name in read_manifest(base)["files"]:  # the tokenizer and its settings, under whatever names
            if not name.endswith(".safetensors") and name not in ("config.json", checkpoint.INDEX):
                with appearing(model / name) as partial:
                    shutil.copyfile(base / name, partial)
        checkpoint.save(policy, model, checkpoint.read_config(base))
        for name in ("metrics", "evaluations", "timing"):
            write_csv(self.log.table(name), self.out / f"{name}.csv")
        columns = self.log.rows("episodes")
        episodes = pd.DataFrame({key: [value for row in columns for value in row[key]] for key in columns[0]})
        with appearing(self.out / "episodes.parquet") as partial:
            _compact(episodes).to_parquet(partial, index=False, compression="zstd")
        write_csv(reward_groups(episodes), self.out / "groups.csv")
        texts = self.log.rows("samples")
        write_text("".join(json.dumps(row) + "\n" for row in texts), self.out / "samples.jsonl")
        self._keep(record)
        link(self.out / "finished" / "run.json", self.out / "run.json")
        self._drop_state()

    def _keep(self, record: dict[str, Any]) -> None:
        """Make `finished/`, its manifest last; the weights are declared nowhere, and stay where they are."""
        kept, model = self.out / "finished", self.out / "model"
        for name in DECLARED[:-1]:
            link(self.out / name, kept / name)
        write_json(record, kept / "run.json")
        weights = {file.name: sha256(file) for file in sorted(model.iterdir()) if file.name != "config.json"}
        write_json({"identity": self.identity, "model": weights}, kept / "state.json")
        write_manifest(kept, [*DECLARED, "state.json"])

    def _drop_state(self) -> None:
        discarded = self.out / "state.discarded"
        shutil.rmtree(discarded, ignore_errors=True)  # of a run that was killed right here
        os.rename(self.state, discarded)
        shutil.rmtree(discarded)


def reward_groups(episodes: pd.DataFrame) -> pd.DataFrame:
    """The groups of every step up to order: `step, rewards ("1.1 0.1 0.0", descending), right, count`."""
    by_group = episodes.sort_values("reward", ascending=False, kind="stable").groupby(["step", "group"])
    groups = pd.DataFrame(
        {
            "rewards": by_group["reward"].agg(lambda values: " ".join(f"{value:.6g}" for value in values)),
            "right": by_group["correct"].sum(),
        }
    ).reset_index()
    return groups.groupby(["step", "rewards", "right"]).size().rename("count").reset_index()


def _compact(episodes: pd.DataFrame) -> pd.DataFrame:
    small = {
        "step": "int32",
        "group": "int32",
        "puzzle": "int32",
        "sample": "int16",
        "length": "int32",
        "attempts": "int32",
    }
    return episodes.astype(small)
