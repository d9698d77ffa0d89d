"""Names of ablations as a reader knows them: "centered softmax τ = 0.5", "GRPO, cut answers left out"."""

import re

import pandas as pd

WEIGHTINGS = {
    "linear": "GRPO",
    "linear plus one": "GRPO plus one",
    "dr grpo": "Dr. GRPO",
    "batch std": "GRPO, the batch's σ",
    "maxrl": "maxRL",
    "raft": "RAFT",
    "rloo": "RLOO",
    "passk": "pass@k",
    "uniform": "the constant 1 alone",
}
SETTINGS = {
    "skip_unfinished True": "cut answers left out",
    "skip_equal True": "equal groups left out",
    "max_num_gen_batches 3": "equal groups replaced",
    "updates_per_batch 4": "4 updates per batch",
}


def label(weighting: str, setting: str | float | None = None) -> str:
    """The name of an ablation.

    weighting, setting  as in ablations.csv; a setting of None or NaN is the baseline's
    """
    scheme, separator, rest = re.sub("^softmax centered", "centered softmax", weighting).partition(" τ")
    name = WEIGHTINGS.get(scheme, scheme) + (separator + rest).replace("=", " = ").replace("→", " → ")
    changes = [_change(change) for change in setting.split(", ")] if isinstance(setting, str) and setting else []
    return ", ".join([name, *changes])


def labels(ablations: pd.DataFrame) -> dict[str, str]:
    """Ablation → its name; `ablations` as in ablations.csv."""
    return {row["ablation"]: label(row["weighting"], row["setting"]) for row in ablations.to_dict("records")}


def _change(change: str) -> str:
    if change in SETTINGS:
        return SETTINGS[change]
    key, _, value = change.partition(" ")
    return f"{key.replace('_', ' ')} {value}"
