"""Renamed: the old names of settings and ablations, and their present names.

Only the tables below know the old names. The config reader refuses an old key and names the new one. The archive reads
the records of earlier runs with them.
"""

import re
from collections.abc import Mapping
from typing import Any

# Section of a config → old key → new key.
RENAMED: dict[str, dict[str, str]] = {
    "training": {
        "prompts": "prompts_per_step",
        "samples": "group_size",
        "updates": "updates_per_batch",
        "kl": "kl_coef",
        "clip_low": "epsilon_low",
        "clip_high": "epsilon_high",
        "clip_norm": "max_grad_norm",
        "entropy_bonus": "entropy_coef",
        "normaliser": "loss_aggregation",
        "reward_seconds": "reward_timeout",
        "rollout_rows": "rollout_batch_size",
        "microbatch_tokens": "max_microbatch_tokens",
        "optimiser_state": "optimizer_state",
    },
    "model.warm_start": {"microbatch_tokens": "max_microbatch_tokens"},
}

# New key of `training` → old value → new value. Other values stay as they are.
VALUES: dict[str, dict[str, str]] = {"loss_aggregation": {"token": "token-mean", "sequence": "seq-mean"}}

# Pattern in an ablation's name → replacement.
ABLATIONS = ((r"\bcentred-", "centered-"), (r"-rate-(?=\d)", "-lr-"))


def ablation(name: str) -> str:
    """The present name of an ablation; a present name stays as it is."""
    for old, new in ABLATIONS:
        name = re.sub(old, new, name)
    return name


def section(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """One section of a config (a key of `RENAMED`) with the present names of its keys and values."""
    keys = RENAMED.get(where, {})
    current = {keys.get(key, key): value for key, value in values.items()}
    if where == "training":
        for key, names in VALUES.items():
            if isinstance(current.get(key), str):
                current[key] = names.get(current[key], current[key])
    return current


def record(values: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a `run.json` of any age, with the present names of its ablation and settings."""
    config = dict(values["config"])
    config["ablation"] = ablation(config["ablation"])
    config["training"] = section("training", config["training"])
    model = dict(config.get("model", {}))
    if isinstance(model.get("warm_start"), Mapping):
        model["warm_start"] = section("model.warm_start", model["warm_start"])
    return {**values, "ablation": ablation(values["ablation"]), "config": {**config, "model": model}}
