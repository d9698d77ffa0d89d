"""The signal study of an experiment's base model (`training/signal_study.py`), if it has one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common import files

COLUMNS = ("rho", "success", "format", "plane", "adam_rho", "adam_success", "adam_format")


def read(folders: Sequence[Path]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of the schemes and the facts of the base; both are empty without a folder.

    Raises ValueError, which names a file that cannot be read.
    """
    if not folders:
        names = [f"{name}{ending}" for name in COLUMNS for ending in ("", "_error")]
        predicted = ["predicted", "predicted_rho", "predicted_success", "noise"]
        return pd.DataFrame(columns=["scheme", "setting", *names, *predicted]), {}
    (folder,) = folders
    return pd.read_csv(folder / "schemes.csv").fillna({"setting": ""}), files.read_json(folder / "base.json")
