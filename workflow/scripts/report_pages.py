"""Execute the notebooks of an experiment's report whose page is not up to date, and make their pages."""

import argparse
import json
from pathlib import Path

from softmax_rewards.report import batch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--notebooks", type=Path, nargs="+", required=True, help="the notebooks")
parser.add_argument("--parameters", type=json.loads, required=True, help="their parameters, as JSON")
parser.add_argument("--code", type=json.loads, required=True, help="page -> fingerprint of its code, as JSON")
parser.add_argument("--tables", type=Path, nargs="+", required=True, help="files that they read, or folders of them")
parser.add_argument("--report", type=Path, required=True, help="folder of the report")
parser.add_argument("--work", type=Path, required=True, help="folder that keeps the pages, and notebooks that failed")
parser.add_argument("--processes", type=int, default=1, help="how many pages to make at the same time")
arguments = parser.parse_args()

folders = [path.iterdir() if path.is_dir() else [path] for path in arguments.tables]
tables = [file for files in folders for file in files if file.is_file()]
batch.make(
    arguments.notebooks,
    arguments.parameters,
    arguments.code,
    tables,
    arguments.report,
    arguments.work,
    arguments.processes,
)
