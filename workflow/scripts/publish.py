"""Copy an experiment's report into the repository: `publish.py results/countdown-mini-full docs --figures index-1`."""

import argparse
from pathlib import Path

from softmax_rewards.report.publish import publish

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<experiment>, or results/overview")
parser.add_argument("docs", type=Path, help="folder of the documents; pages go to its report/<experiment>/")
parser.add_argument("--pages", nargs="*", default=(), help="names of pages, such as index controls; default: all")
parser.add_argument(
    "--figures", nargs="*", default=(), help="figures that other documents show: index-1 is the first of page index"
)
arguments = parser.parse_args()

for file in publish(arguments.results, arguments.docs, arguments.pages, arguments.figures):
    print(file)
