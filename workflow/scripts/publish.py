"""Keep an experiment's report with the repository: `publish.py results/countdown-mini-full docs/report`."""

import argparse
from pathlib import Path

from softmax_rewards.report.publish import publish

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<experiment>")
parser.add_argument("docs", type=Path, help="folder for the notebooks, pages and figures")
parser.add_argument("--pages", nargs="*", default=(), help="only these: index controls")
arguments = parser.parse_args()

for file in publish(arguments.results, arguments.docs, arguments.pages):
    print(file)
