"""Print a prompt exactly as the base model of an experiment sees it."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softmax_rewards.common import hub
from softmax_rewards.common.terminal import plain
from softmax_rewards.config import folders, settings
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.data import dataset
from softmax_rewards.training import prompts


def show(experiment: Experiment, data: Path) -> str:
    """The prompt of the first held-out puzzle, below a line that describes it.

    `data` is the folder of puzzles and base models. What is not there is made or fetched, and not kept.
    """
    writer = prompts.writer(experiment, data)
    text, ids = writer.write(_first_puzzle(experiment, data))
    facts = f"{experiment.name}: the first held-out puzzle, template {writer.template}, {len(ids)} tokens. "
    facts += "The answer continues the last line."
    if writer.keeps_thinking_open:
        facts += "\nThe model's own chat template would close the thought. The base model has one that keeps it open."
    # Line breaks are shown as such; other characters must not control the terminal.
    return "\n".join([facts, "", *map(plain, text.split("\n"))])


def _first_puzzle(experiment: Experiment, data: Path) -> dict[str, Any]:
    run = experiment.runs()[0]
    made = data / "tasks" / folders.task_key(run)
    if (made / "manifest.json").is_file():
        return dataset.read(made, "test", 1)[0]
    with tempfile.TemporaryDirectory() as folder:
        dataset.write(run.task, Path(folder), data / "public" / run.task["name"], hub.fetch)
        return dataset.read(Path(folder), "test", 1)[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="name of a file in config/experiments/, or the path of a YAML file")
    parser.add_argument("--data", default="data", help="folder of puzzles and base models (default: data)")
    given = parser.parse_args(arguments)
    try:
        values = {"experiments": [given.experiment], "data": given.data}
        _, loaded = settings.load(values, parser.prog)
        (experiment,) = loaded.values()
        print(show(experiment, Path(given.data)))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
