"""Write docs/predictions.json: what the map and the toy of search predict from the evaluations of base models."""

import argparse
from pathlib import Path

from softmax_rewards.common import files
from softmax_rewards.verdicts import frozen

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=Path("docs/predictions.json"))
parser.add_argument("conditions", nargs="+", help="CONDITION=TOKENS=evaluation.json, such as trap=64=data/…")
arguments = parser.parse_args()

named = [condition.split("=", 2) for condition in arguments.conditions]
evaluations = {name: files.read_json(Path(file)) for name, _, file in named}
files.write_json(frozen.predictions(evaluations, {name: int(limit) for name, limit, _ in named}), arguments.out)
