"""Summarize all runs of an experiment."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common.terminal import log
from softmax_rewards.verdicts import aggregate, archive, bases

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--experiment", type=json.loads, required=True, help="the resolved experiment, as JSON")
parser.add_argument("--plan", type=Path, required=True, help="the analysis plan")
parser.add_argument("--out", type=Path, required=True, help="folder for the summary")
parser.add_argument("--archived", type=json.loads, default=[], help="runs to take from the archive, as a JSON list")
parser.add_argument("--bases", type=Path, nargs="*", default=[], help="evaluations of the runs' base models")
parser.add_argument("--signal", type=Path, nargs="*", default=[], help="table of the signal study, if there is one")
parser.add_argument("runs", type=Path, nargs="*", help="run folders")
arguments = parser.parse_args()

log("aggregate", f"{len(arguments.runs) + len(arguments.archived)} runs")
folder = arguments.experiment["archive"]
archived = archive.read(Path(folder), arguments.archived) if arguments.archived else []
evaluated = bases.read(arguments.bases)
folders = [file.parent for file in arguments.signal]
aggregate.write(arguments.runs, arguments.out, arguments.experiment, arguments.plan, archived, evaluated, folders)
