"""The folder of a training run: its lock, its growing logs, its checkpoints, its finished tables.

state/                    while the run is under way: logs and the newest checkpoint
metrics.csv … model/      written when it has finished, `run.json` last
"""

import dataclasses
import fcntl
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from safetensors import safe_open

from softmax_rewards.files import appearing, read_manifest, write_csv, write_json, write_text
from softmax_rewards.limits import Limits
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.progress import say
from softmax_rewards.runlog import RunLog
from softmax_rewards.update import Updater

# The files that say a run has ended: `run.json`, and what `evaluate.py` adds.
FINISHED = ("run.json", "evaluation.json", "puzzles.csv")


class RunFolder:
    """One run's files in `out`, held by this process alone while it is open.

    `identity` says what the run depends on; a checkpoint of another identity is not resumed.
    """

    def __init__(self, out: Path, identity: str) -> None:
        self.out, self.state, self.identity = out, out / "state", identity

    def __enter__(self) -> Self:
        self.out.mkdir(parents=True, exist_ok=True)
        self._lock = (self.out / ".lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise RuntimeError(f"{self.out}: process {holder} is training this run; wait for it or stop it") from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()
        # What an earlier run left here must not be taken for this one's, should this one be cut short.
        for name in FINISHED:
            (self.out / name).unlink(missing_ok=True)
        self.state.mkdir(exist_ok=True)
        self.log = RunLog(self.state)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()
        self._lock.close()

    def resume(self, updater: Updater) -> tuple[int, int]:
        """Load the newest checkpoint into `updater`: (updates done, tokens generated), or (0, 0)."""
        saved = sorted(self.state.glob("checkpoint-*"))
        if saved:
            state = json.loads((saved[-1] / "state.json").read_text(encoding="utf-8"))
            if state["identity"] == self.identity:
                self.log.truncate(state["log"])
                for file in saved[-1].glob("*.safetensors"):
                    with safe_open(file, framework="pt") as tensors:
                        for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                            updater.load(file.stem, name, tensors.get_tensor(name))
                updater.limits = Limits(**state["limits"])
                return state["step"], state["tokens"]
            say("train", f"{saved[-1]} is of other code, data or settings: starting anew")
        for folder in saved:
            self._discard(folder)
        self.log.truncate(dict.fromkeys(self.log.sizes(), 0))
        return 0, 0

    def checkpoint(self, step: int, tokens: int, updater: Updater) -> None:
        """Save everything the run needs to go on after `step` updates, then drop older checkpoints."""
        partial = self.state / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for kind, tensors in updater.state().items():  # one file a kind: the host holds one kind at a time
            values = {name: value.detach().cpu() for name, value in tensors.items()}
            checkpoint.write_tensors(values, partial / f"{kind}.safetensors")
        state = {"step": step, "tokens": tokens, "identity": self.identity, "log": self.log.sizes()}
        write_json(state | {"limits": dataclasses.asdict(updater.limits)}, partial / "state.json")
        older = list(self.state.glob("checkpoint-*"))
        os.rename(partial, self.state / f"checkpoint-{step:08d}")
        for folder in older:
            self._discard(folder)

    def _discard(self, folder: Path) -> None:
        """Delete a checkpoint; renamed first, so that one half deleted is never taken for a whole one."""
        partial = self.state / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.rename(folder, partial)
        shutil.rmtree(partial)

    def finish(self, policy: Decoder, base: Path, record: dict[str, Any]) -> None:
        """Write the final weights and tables; `run.json`, which marks the run as finished, comes last."""
        model = self.out / "model"
        shutil.rmtree(model, ignore_errors=True)  # of an earlier run, perhaps from another base
        model.mkdir()
        for name in read_manifest(base)["files"]:  # the tokenizer and its settings, under whatever names
            if not name.endswith(".safetensors") and name not in ("config.json", checkpoint.INDEX):
                shutil.copyfile(base / name, model / name)
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
        write_json(record, self.out / "run.json")
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
