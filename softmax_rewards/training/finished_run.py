"""The files of a finished run: written once, and restored if a workflow has deleted them."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmax_rewards.common.files import (
    appearing,
    link,
    read_manifest,
    sha256,
    verify,
    write_csv,
    write_json,
    write_manifest,
    write_text,
)
from softmax_rewards.common.terminal import log
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.training import checkpoints, timing
from softmax_rewards.training.run_log import RunLog

if TYPE_CHECKING:
    import pandas as pd

# The files that mark a run as finished or evaluated.
MARKS = ("run.json", "evaluation.json", "puzzles.csv")
# The outputs that the workflow declares. If a workflow does not know that the run has finished, it deletes them and
# starts the run again. `run.json` comes last, because it marks the run as finished.
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
PHASES = ("start", "evaluation")
EPISODE_TYPES = {
    "step": "int32",
    "group": "int32",
    "puzzle": "int32",
    "sample": "int16",
    "length": "int32",
    "attempts": "int32",
}


def write(out: Path, logs: RunLog, policy: Decoder, base: Path, record: dict[str, Any], identity: str) -> None:
    """Write the final weights and tables of the run in `out`, `run.json` last, and delete its logs and checkpoints."""
    import pandas as pd  # needed only at the end of a run, and a start would wait for it

    _write_model(out / "model", policy, base)
    for name in ("metrics", "evaluations", "timing"):
        write_csv(logs.table(name), out / f"{name}.csv")
    columns = logs.rows("episodes")
    episodes = pd.DataFrame({key: [value for row in columns for value in row[key]] for key in columns[0]})
    with appearing(out / "episodes.parquet") as partial:
        episodes.astype(EPISODE_TYPES).to_parquet(partial, index=False, compression="zstd")
    write_csv(reward_groups(episodes), out / "groups.csv")
    write_text("".join(json.dumps(row) + "\n" for row in logs.rows("samples")), out / "samples.jsonl")
    phases = logs.rows("phases")
    seconds = {f"{name}_s": sum(row["seconds"] for row in phases if row["phase"] == name) for name in PHASES}
    timing.write(out, **seconds)
    _keep(out, record, identity)
    link(out / "finished" / "run.json", out / "run.json")
    _drop_state(out)


def restore(out: Path, identity: str) -> bool:
    """Restore the files of a run that finished in `out`; False unless it has this `identity` and is whole."""
    finished, model = out / "finished", out / "model"
    if not finished.is_dir():
        return False
    try:
        facts = checkpoints.read(finished)
        checkpoints.expect(facts, identity, finished)
        verify(model, facts["model"])
    except ValueError as error:
        log("train", f"{error}; the finished run here is not used")
        shutil.rmtree(finished)
        return False
    for name in DECLARED:
        link(finished / name, out / name)
        os.utime(out / name)  # Snakemake takes a file that is older than its inputs for out of date
    _drop_state(out)
    log("train", f"{out}: this run had finished with the same code, data and settings; its files are restored")
    return True


def reward_groups(episodes: "pd.DataFrame") -> "pd.DataFrame":
    """How often a step had a group with these rewards: `step, rewards ("1.1 0.1 0.0", descending), right, count`."""
    by_group = episodes.sort_values("reward", ascending=False, kind="stable").groupby(["step", "group"])
    groups = by_group.agg(
        rewards=("reward", lambda values: " ".join(f"{value:.6g}" for value in values)), right=("correct", "sum")
    ).reset_index()
    return groups.groupby(["step", "rewards", "right"]).size().rename("count").reset_index()


def _write_model(folder: Path, policy: Decoder, base: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have had another base model
    folder.mkdir()
    for name in read_manifest(base)["files"]:  # the tokenizer and its settings, under whatever names
        if not name.endswith(".safetensors") and name not in ("config.json", checkpoint.INDEX):
            with appearing(folder / name) as partial:
                shutil.copyfile(base / name, partial)
    checkpoint.save(policy, folder, checkpoint.read_config(base))


def _keep(out: Path, record: dict[str, Any], identity: str) -> None:
    """Write `finished/`, its manifest last. The weights stay in `model/`: the workflow does not declare them."""
    finished, model = out / "finished", out / "model"
    for name in DECLARED[:-1]:
        link(out / name, finished / name)
    write_json(record, finished / "run.json")
    weights = {file.name: sha256(file) for file in sorted(model.iterdir()) if file.name != "config.json"}
    write_json({"identity": identity, "model": weights}, finished / "state.json")
    write_manifest(finished, [*DECLARED, "state.json"])


def _drop_state(out: Path) -> None:
    discarded = out / "state.discarded"
    shutil.rmtree(discarded, ignore_errors=True)  # a run may have been killed at this point
    os.rename(out / "state", discarded)
    shutil.rmtree(discarded)
