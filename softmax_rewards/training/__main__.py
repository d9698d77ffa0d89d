"""One run on several hosts: torchrun starts this module on each of them. docs/clusters.md explains it.

torchrun --nnodes 2 --nproc-per-node 8 --node-rank RANK --master-addr HOST -m softmax_rewards.training EXPERIMENT \
ABLATION SEED
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from softmax_rewards.common import terminal
from softmax_rewards.config import folders, settings, strict
from softmax_rewards.config.run import ConfigError
from softmax_rewards.training import job, targets

CONFIG = Path("config/config.yaml")
PLAN, PREDICTIONS = Path("docs/analysis-plan.md"), Path("docs/predictions.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. A wrong argument ends it with one line."""
    terminal.accept_all_text()
    parser = argparse.ArgumentParser(prog="torchrun … -m softmax_rewards.training", description=__doc__)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="as in config/config.yaml: a name, or a YAML file")
    parser.add_argument("ablation", metavar="ABLATION", help="one of its ablations")
    parser.add_argument("seed", metavar="SEED", help="one of the ablation's seeds")
    for name in ("results", "data"):
        parser.add_argument(f"--{name}", metavar="FOLDER", help=f"in place of `{name}` of config/config.yaml")
    options = parser.parse_args(arguments)
    if "LOCAL_RANK" not in os.environ:
        sys.exit("softmax_rewards.training: torchrun starts this module: torchrun … -m softmax_rewards.training …")
    places = {name: folder for name in ("results", "data") if (folder := getattr(options, name))}
    try:
        values = strict.read(CONFIG) | {"experiments": [options.experiment]} | places
        chosen, experiments = settings.load(values, str(CONFIG))
        (experiment,) = experiments.values()
        run = targets.run(experiment, options.ablation, options.seed)
        run = dataclasses.replace(run, training=dataclasses.replace(run.training, gpus=int(os.environ["WORLD_SIZE"])))
    except ConfigError as error:
        sys.exit(str(error))
    data = Path(chosen.data, "tasks", folders.task_key(run))
    base = Path(chosen.data, "models", folders.model_key(run))
    for folder in (data, base):
        if not (folder / "manifest.json").is_file():
            command = f"snakemake {folder}/manifest.json --config experiments='[{options.experiment}]'"
            sys.exit(f"{folder}: not made yet; make it first: {command}")
    out = Path(chosen.results, experiment.name, "runs", run.name)
    job.train(run, data, base, out, PLAN, PREDICTIONS)


if __name__ == "__main__":
    main()
