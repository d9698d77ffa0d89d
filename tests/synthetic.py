"""Made-up run folders with planted effects, for tests and for drawing before anything is trained."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

STEPS = 120
EVERY = 10
PUZZLES = 1024
TASK = {"name": "countdown"}
MODEL = {"source": "mini"}
TRAINING = {"group_size": 8, "steps": STEPS, "learning_rate": 4e-4, "max_new_tokens": 96}
ABLATIONS = {
    "baseline": {"scheme": "linear"},
    "softmax-0.25": {"scheme": "softmax", "tau": 0.25},
    "softmax-0.5": {"scheme": "softmax", "tau": 0.5},
    "softmax-0.75": {"scheme": "softmax", "tau": 0.75},
    "softmax-1.0": {"scheme": "softmax", "tau": 1.0},
    "centered-0.5": {"scheme": "softmax_centered", "tau": 0.5},
}
GAINS = {
    "baseline": 0.10,
    "softmax-0.25": 0.11,
    "softmax-0.5": 0.13,
    "softmax-0.75": 0.02,
    "softmax-1.0": -0.07,
    "centered-0.5": 0.12,
}


def experiment(ablations: Mapping[str, Mapping] = ABLATIONS, primary: Sequence[str] = ()) -> dict:
    """The resolved experiment of these ablations (ablation -> weighting)."""
    return {
        "name": "synthetic",
        "task": TASK,
        "model": MODEL,
        "bases": 1,
        "baseline": "baseline",
        "primary": list(primary),
        "ablations": {name: {"weighting": dict(weighting)} for name, weighting in ablations.items()},
    }


def write_run(
    folder: Path,
    ablation: str,
    seed: int,
    weighting: Mapping,
    success: Callable[[np.ndarray], np.ndarray],
    *,
    training: Mapping = TRAINING,
    entropy: float = 0.9,
    tokens_a_step: int = 20_000,
) -> Path:
    """Write `folder`/<ablation>/seed-<n>; `success` maps the evaluated steps [T] to success rates [T]."""
    rng = np.random.default_rng([seed, *ablation.encode()])
    out = folder / ablation / f"seed-{seed}"
    out.mkdir(parents=True)
    steps = np.arange(0, training["steps"] + 1, EVERY)
    curve = np.clip(success(steps), 0, 1)
    common = {"format": 0.97, "finished": 0.99, "attempts": 2.0, "self_checks": 1.0, "gave_up": 0.3}
    evaluations = pd.DataFrame({"step": steps, "tokens": steps * tokens_a_step, "puzzles": PUZZLES})
    evaluations = evaluations.assign(
        success=curve, reward=1.0 * curve + 0.1 * common["format"], length=40.0, entropy=entropy, **common
    )
    evaluations.to_csv(out / "evaluations.csv", index=False)

    trained = np.arange(1, training["steps"] + 1)
    noise = rng.normal(0, 0.02, len(trained))
    metrics = pd.DataFrame({"step": trained, "tokens": trained * tokens_a_step, "tau": 0.5})
    metrics = metrics.assign(
        loss=0.1 + noise,
        grad_norm=1.9 + noise,
        entropy=entropy + noise,
        success=np.clip(np.interp(trained, steps, curve) + noise, 0, 1),
        reward=0.2,
        length=40.0 + 10 * noise,
        all_wrong=0.5,
        all_right=0.0,
        weight_mean=0.0,
        weight_std=1.0,
        weight_max=2.6,
        weight_entropy=1.6,
        weight_effective_n=3.0,
        **common,
    )
    metrics.to_csv(out / "metrics.csv", index=False)

    groups = [
        (step, " ".join(["1.1"] * right + ["0.1"] * (8 - right)), right, 20) for step in trained for right in (0, 1)
    ]
    pd.DataFrame(groups, columns=["step", "rewards", "right", "count"]).to_csv(out / "groups.csv", index=False)
    with (out / "samples.jsonl").open("w") as file:
        for step in steps:
            for puzzle in range(8):
                completion = "3*5+7=22:22yes</think>\n<answer>3*5+7</answer>" if puzzle else "3+5=<b>8</b>:22no & so on"
                row = {
                    "step": int(step),
                    "puzzle": puzzle,
                    "prompt": "[3,5,7]=22:<think>",
                    "completion": completion,
                }
                file.write(json.dumps({**row, "reward": 1.1 * bool(puzzle), "correct": bool(puzzle)}) + "\n")
    sampled, greedy = (rng.random((2, PUZZLES)) < curve[-1]).astype(int)
    pd.DataFrame({"puzzle": range(PUZZLES), "sampled": sampled, "greedy": greedy}).to_csv(
        out / "puzzles.csv", index=False
    )
    last = float(curve[-1])
    rates = {f"pass@{k}": 1 - (1 - last) ** k for k in (1, 4, 16)}
    evaluation = {"success": last, "greedy": last, **rates, "distinct": 1.5, "puzzles": PUZZLES}
    (out / "evaluation.json").write_text(json.dumps(evaluation))
    config = {"ablation": ablation, "seed": seed, "task": TASK, "model": MODEL, "training": dict(training)}
    config["evaluation"] = {"every": EVERY, "puzzles": PUZZLES}
    record = {
        "ablation": ablation,
        "seed": seed,
        "config": {**config, "weighting": dict(weighting)},
        "fingerprint": f"{ablation}-{seed}",
        "code": weighting["scheme"],
        "trainer": "trainer",
        "data": "data",
        "base": "base",
        "device": "cpu",
        "revision": "0" * 40,
        "versions": {"torch": "2"},
    }
    (out / "run.json").write_text(json.dumps(record))
    return out


def straight(step: np.ndarray, base: float, gain: float) -> np.ndarray:
    return base + gain * step


def write_experiment(
    folder: Path,
    *,
    ablations: Mapping[str, Mapping] = ABLATIONS,
    gains: Mapping[str, float] = GAINS,
    seeds: int = 3,
    spread: float = 0.004,
    base: float = 0.09,
    steps: int = STEPS,
) -> list[Path]:
    """Runs whose success rises in a straight line by `gains` from `base`; the gain varies between seeds with
    standard deviation `spread`."""
    runs = []
    for name, weighting in ablations.items():
        for seed in range(seeds):
            gain = gains[name] + spread * np.random.default_rng([seed, *name.encode(), 1]).normal()
            curve = partial(straight, base=base, gain=gain / steps)
            training = {**TRAINING, "steps": steps}
            runs.append(write_run(folder, name, seed, weighting, curve, training=training))
    return runs
