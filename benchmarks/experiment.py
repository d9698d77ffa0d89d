"""Runs a shortened experiment outside of the pipeline. Does it learn? How long is a step? How much memory does it take?

    python benchmarks/experiment.py countdown-smollm2 --steps 20 --out benchmarks/results/countdown-smollm2-short.json

Puzzles and base model are made as in the experiment. Then the baseline and the named ablations train for a few steps.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import pandas as pd

from softmax_rewards.common import devices, hub
from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.training import base_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="a file of config/experiments/")
    parser.add_argument("--ablations", default="softmax-0.5", help="beside the baseline, separated by commas")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--puzzles", type=int, default=256, help="in an evaluation")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    devices.lease()
    # Torch must not be imported before the lease.
    from machine import write_result

    from softmax_rewards.training import evaluate, trainer

    experiment = experiments.load(Path("config/experiments") / f"{arguments.experiment}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        data, base = Path(folder, "data"), Path(folder, "base")
        dataset.write(experiment.task, data, Path(folder, "public"), hub.fetch)
        began = time.perf_counter()
        base_model.build(experiment.model, experiment.task, data, base)
        results = {"base_model_s": round(time.perf_counter() - began, 1)}
        for ablation in [experiment.baseline, *arguments.ablations.split(",")]:
            run = experiment.run(ablation, 0)
            settings = dataclasses.replace(run.training, steps=arguments.steps)
            judged = dataclasses.replace(
                run.evaluation,
                every=max(arguments.steps // 2, 1),
                puzzles=arguments.puzzles,
                pass_puzzles=min(run.evaluation.pass_puzzles, arguments.puzzles, 32),
            )
            out = Path(folder, "runs", ablation, "seed-0")
            trainer.train(dataclasses.replace(run, training=settings, evaluation=judged), data, base, out)
            evaluate.final(out, data)
            results[ablation] = summary(out)
            print(json.dumps({ablation: results[ablation]}, indent=2), flush=True)
    write_result(arguments.out, f"{arguments.experiment} shortened", results)


def summary(out: Path) -> dict[str, object]:
    """Success during the run, medians over its steps, the peak of memory, and the final evaluation."""
    tables = {name: pd.read_csv(out / f"{name}.csv") for name in ("evaluations", "metrics", "timing")}
    medians = pd.concat([tables["timing"], tables["metrics"]], axis=1).median()
    columns = ["rollout_s", "update_s", "rollout_tokens_per_s", "update_tokens_per_s", "length", "entropy", "grad_norm"]
    return {
        "success": dict(zip(tables["evaluations"]["step"].tolist(), tables["evaluations"]["success"], strict=True)),
        "medians": {name: float(f"{medians[name]:.4g}") for name in columns},
        "memory_mb": float(tables["timing"]["memory_mb"].max()),
        "evaluation": json.loads((out / "evaluation.json").read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    main()
