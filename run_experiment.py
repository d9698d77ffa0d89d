"""Run an experiment that is described in words: write its file, and call Snakemake with it.

python run_experiment.py --dataset countdown --ablations baseline,softmax --model Qwen2.5-0.5B --dry-run
"""

import argparse
import os
import sys
from pathlib import Path

from softmax_rewards.common import terminal
from softmax_rewards.config import shorthand, strict
from softmax_rewards.training import job_shell

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
add = parser.add_argument
add("--dataset", required=True, help="a task: a file of softmax_rewards/data/tasks/")
add("--ablations", required=True, help="baseline,softmax,softmax-0.25,centered-0.5,anneal-0.75-0.25,…")
add("--model", required=True, help="Qwen2.5-0.5B, …, mini, smollm2, random:Qwen2.5-0.5B or a folder")
add("--seeds", help="seeds of every ablation, such as 0,1,2")
add("--set", action="append", default=[], metavar="KEY=VALUE", help="any other key: training.lr=1e-6; may be repeated")
add("--dry-run", action="store_true", help="show the file, the plan and what it would cost")
add("--cores", default="all", help="as for snakemake")
add("--resources", nargs="+", default=[], metavar="NAME=N", help="as for snakemake: gpu=8")
add("snakemake", nargs="*", help="further arguments of snakemake, after --")
terminal.accept_all_text()
given = parser.parse_args()
model = os.path.abspath(given.model) if "/" in given.model and os.path.exists(given.model) else given.model
os.chdir(Path(__file__).resolve().parent)
os.environ.update(job_shell.environment(os.environ, Path(".snakemake")))  # Snakemake needs a cache as well
try:
    command = shorthand.command(given.cores, given.resources, given.dry_run, given.snakemake)
    name, values = shorthand.experiment(given.dataset, given.ablations, model, given.seeds, given.set)
    results = Path(strict.read(Path("config/config.yaml")).get("results", "results"))
except ValueError as error:
    sys.exit(str(error))
sys.exit(shorthand.run(command, name, values, results))
