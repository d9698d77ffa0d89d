"""Makes the embedded model of an experiment, as a folder for verl."""

import argparse
import tempfile
from pathlib import Path

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.training import base_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("experiment", type=Path, help="file of an experiment with the embedded model")
parser.add_argument("out", type=Path, help="folder for the model")
arguments = parser.parse_args()

experiment = experiments.load(arguments.experiment)
with tempfile.TemporaryDirectory() as puzzles:
    dataset.write(experiment.task, Path(puzzles))
    base_model.build(experiment.model, experiment.task, Path(puzzles), arguments.out)
