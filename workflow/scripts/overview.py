"""The verdicts of several experiments in one table, sorted by claim."""

import argparse
from pathlib import Path

import pandas as pd

from softmax_rewards.common import files
from softmax_rewards.verdicts import judgment

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("verdicts", type=Path, nargs="+", help="verdicts.csv of each experiment")
parser.add_argument("--out", type=Path, required=True, help="the table")
arguments = parser.parse_args()

files.write_csv(judgment.overview([pd.read_csv(path) for path in arguments.verdicts]), arguments.out)
