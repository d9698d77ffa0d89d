"""The final evaluation within the training job, which has the model in memory, so that no second job starts for it.

<run>/evaluation/     evaluation.json and puzzles.csv, and a manifest with their checksums, written last

The rule `evaluate` takes these files over (`take_over`). It evaluates the model itself if they are missing or damaged,
or if they are of another run or of other evaluation code. So nothing is lost when this evaluation fails.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from softmax_rewards.common import provenance
from softmax_rewards.common.files import link, verified_manifest, write_manifest
from softmax_rewards.common.terminal import log, plain
from softmax_rewards.training import state_file, timing

FOLDER = "evaluation"
FILES = ("puzzles.csv", "evaluation.json")  # the last one marks the run as evaluated


def leave(evaluate: Callable[[Path], None], out: Path, code: str) -> None:
    """Evaluate the final model of the run that has just finished in `out`, and leave the results for `take_over`.

    An error is only logged: the run itself has succeeded, and the rule `evaluate` will try again.

    Args:
        evaluate: writes `FILES` to a folder.
        out: the run's folder.
        code: `provenance.evaluation_fingerprint` from the start of this process. The sources may have changed since.
    """
    folder = out / FOLDER
    try:
        record = _record(out)
        with state_file.evaluating(out, record), timing.measured(out, "final_evaluation_s"):
            discard(out)
            folder.mkdir()
            evaluate(folder)
            write_manifest(folder, list(FILES), **_origin(record), code=code)
    except Exception as error:  # for example a verifier that fails, or a full disk
        reason = plain(" ".join(str(error).split()))
        log("train", f"{out}: the final evaluation failed ({type(error).__name__}: {reason}); the next job tries again")


def take_over(out: Path) -> bool:
    """Publish what `leave` has left in the run's folder `out`; False if that is not of this run and this code."""
    folder = out / FOLDER
    if not folder.is_dir():
        return False
    try:
        manifest = verified_manifest(folder)
    except ValueError as error:
        log("evaluate", f"{error}; the model is evaluated again")
        return False
    record = _record(out)
    expected = _origin(record) | {"code": provenance.evaluation_fingerprint(record["config"])}
    if any(manifest.get(key) != value for key, value in expected.items()):
        return False
    for name in FILES:
        link(folder / name, out / name)
        os.utime(out / name)  # Snakemake takes a file that is older than its inputs for out of date
    return True


def discard(out: Path) -> None:
    """Delete what an earlier training of the run in `out` has left."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _record(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "run.json").read_text(encoding="utf-8")))


def _origin(record: Mapping[str, Any]) -> dict[str, str]:
    """The run that the results are of, with its puzzles and base model."""
    return {key: record[key] for key in ("fingerprint", "data", "base")}
