"""Writes a task's puzzles as parquet files for verl."""

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd

from softmax_rewards.common import hub
from softmax_rewards.config import experiments
from softmax_rewards.data import dataset, tasks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("experiment", type=Path, help="file of an experiment, which names the task and its options")
parser.add_argument("out", type=Path, help="folder for train.parquet and test.parquet")
parser.add_argument(
    "--public",
    type=Path,
    default=Path("data/public"),
    help="folder of the task's public data; missing data is downloaded",
)
parser.add_argument(
    "--template",
    choices=("chat", "compact"),
    default="chat",
    help="form of the prompts; compact is the embedded model's",
)
arguments = parser.parse_args()


def messages(prompt: str | list[dict[str, str]]) -> list[dict[str, str]]:
    """A prompt as verl takes it. A text becomes the content of one message."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


experiment = experiments.load(arguments.experiment)
name = experiment.task["name"]
task, _ = tasks.load(experiment.task)
arguments.out.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as made:
    dataset.write(experiment.task, Path(made), arguments.public / name, hub.fetch)
    for split, count in (("train", None), ("test", experiment.evaluation.puzzles)):
        rows = [
            {
                "data_source": name,
                "prompt": messages(task.prompt(puzzle, arguments.template)),
                "reward_model": {
                    "style": "rule",
                    "ground_truth": json.dumps(puzzle, default=lambda array: array.tolist()),
                },
                "extra_info": {"index": index, "task": json.dumps(experiment.task)},
            }
            for index, puzzle in enumerate(dataset.read(Path(made), split, count))
        ]
        pd.DataFrame(rows).to_parquet(arguments.out / f"{split}.parquet", index=False)
