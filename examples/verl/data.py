"""Writes a task's puzzles as parquet files for verl, with prompts as the experiment's base model sees them.

A prompt is one message with the whole text. `chat_template.jinja` hands it to the model as it stands, so verl's prompts
have the same tokens as this project's own (`softmax-rewards show-prompt EXPERIMENT` prints one).
"""

import argparse
import json
import tempfile
from pathlib import Path

import pandas as pd

from softmax_rewards.common import hub
from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.training import prompts

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("experiment", type=Path, help="file of an experiment, which names the task, the model and options")
parser.add_argument("out", type=Path, help="folder for train.parquet and test.parquet")
parser.add_argument(
    "--data",
    type=Path,
    default=Path("data"),
    help="folder of public data, which is downloaded if missing, and of base models",
)
arguments = parser.parse_args()

experiment = experiments.load(arguments.experiment)
name = experiment.task["name"]
writer = prompts.writer(experiment, arguments.data)
arguments.out.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as made:
    dataset.write(experiment.task, Path(made), arguments.data / "public" / name, hub.fetch)
    for split, count in (("train", None), ("test", experiment.evaluation.puzzles)):
        rows = [
            {
                "data_source": name,
                "prompt": [{"role": "user", "content": writer.write(puzzle)[0]}],
                "reward_model": {
                    "style": "rule",
                    "ground_truth": json.dumps(puzzle, default=lambda array: array.tolist()),
                },
                "extra_info": {"index": index, "task": json.dumps(experiment.task)},
            }
            for index, puzzle in enumerate(dataset.read(Path(made), split, count))
        ]
        pd.DataFrame(rows).to_parquet(arguments.out / f"{split}.parquet", index=False)
