"""Run an experiment named in words: a data set, some arms and a model.

    python run_experiment.py --dataset countdown --ablations baseline,softmax --model Qwen2.5-0.5B --dry-run

It writes the experiment file that the words stand for, and hands it to Snakemake with whatever follows `--`.
"""

import argparse
import os
import sys
from pathlib import Path

from softmax_rewards import shorthand, strict

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
add = parser.add_argument
add("--dataset", required=True, help="a file of softmax_rewards/tasks/")
add("--ablations", required=True, help="baseline,softmax,softmax-0.25,centred-0.5,anneal-0.75-0.25,…")
add("--model", required=True, help="Qwen2.5-0.5B, …, mini, smollm2, random:Qwen2.5-0.5B or a folder")
add("--seeds", help="0,1,2")
add("--set", action="append", default=[], metavar="KEY=VALUE", help="training.lr=1e-6, task.source=public, …")
add("--dry-run", action="store_true", help="show the file, the plan and what it would cost")
add("--cores", default="all", help="as for snakemake")
add("--resources", nargs="+", default=[], metavar="NAME=N", help="as for snakemake: gpu=8")
add("snakemake", nargs="*", help="arguments of snakemake, after --")
given = parser.parse_args()

try:
    results = Path(strict.read(Path("config/config.yaml")).get("results", "results"))
    lists = [words.split(",") if words else [] for words in (given.ablations, given.seeds)]
    path = shorthand.write(*shorthand.experiment(given.dataset, lists[0], given.model, lists[1], given.set), results)
except ValueError as error:
    sys.exit(str(error))
resources = ["--resources", *given.resources] if given.resources else []
command = ["snakemake", *resources, f"--config=experiments=[{path}]", "--cores", given.cores]
if given.dry_run:
    print(path.read_text(encoding="utf-8"), flush=True)
    command.append("--dry-run")
os.execv(sys.executable, [sys.executable, "-m", *command, *given.snakemake])
