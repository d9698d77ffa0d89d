"""Keep an experiment's report with the repository: `publish.py results/countdown-mini-full docs --figures index-1`."""

import argparse
from pathlib import Path

from softmax_rewards.report.publish import publish

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<experiment>, or results/overview")
parser.add_argument("docs", type=Path, help="folder of the documents: pages go to report/<experiment>/ in it")
parser.add_argument("--pages", nargs="*", default=(), help="only these: index controls")
parser.add_argument("--figures", nargs="*", default=(), help="figures for other documents: index-1 is the page's first")
arguments = parser.parse_args()

for file in publish(arguments.results, arguments.docs, arguments.pages, arguments.figures):
    print(file)
