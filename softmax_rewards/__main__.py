"""The one command beside the pipeline: `softmax-rewards COMMAND`, or `python -m softmax_rewards COMMAND`."""

import importlib
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

from softmax_rewards.common import plugins, terminal

NAME = "softmax-rewards"


class Command(NamedTuple):
    """A module with `main(arguments)`, what it is for, and a call that shows its use."""

    module: str
    purpose: str
    example: str


COMMANDS = {
    "advise": Command(
        "softmax_rewards.integrations.advise",
        "Say which weighting scheme suits the rewards in a log of your own training.",
        "advise rewards.csv --correct correct",
    ),
    "judge": Command(
        "softmax_rewards.integrations.imported",
        "Compare runs of TRL or verl by seed, and judge each scheme against GRPO.",
        "judge RUNS --success eval_rewards/accuracy/mean",
    ),
    "answer": Command(
        "softmax_rewards.report.answer",
        "Print what an experiment found, in five lines.",
        "answer results/countdown-mini",
    ),
    "status": Command(
        "softmax_rewards.training.status",
        "Show the state, the progress and the failures of every run.",
        "status results/countdown-mini --watch 10",
    ),
    "show-prompt": Command(
        "softmax_rewards.training.show_prompt",
        "Print a prompt exactly as the base model of an experiment sees it.",
        "show-prompt countdown-mini",
    ),
    "tensorboard": Command(
        "softmax_rewards.training.tensorboard",
        "Write the curves of an experiment's runs as event files for TensorBoard.",
        "tensorboard results/countdown-mini events",
    ),
    "archive": Command(
        "softmax_rewards.verdicts.archiving",
        "Keep the tables of an experiment's finished runs with the repository.",
        "archive results/countdown-mini results/archive/countdown-mini",
    ),
    "generate-docs": Command(
        "softmax_rewards.report.documentation",
        "Write the generated parts of the documents and the JSON schema again.",
        "generate-docs",
    ),
}

ABOUT = f"""\
usage: {NAME} COMMAND [ARGUMENTS]
       {NAME} COMMAND --help
       {NAME} --version

When right answers are rare, should the rewards of a group be weighted by a softmax
instead of GRPO's z-score? The pipeline of this project trains and compares both
(`make report`). The commands here work beside it: on logs of other trainers, and on
the results of the pipeline.
"""

NEXT = f"""\
`advise` and `judge` read logs in any folder. `answer`, `status`, `tensorboard` and `archive`
read a folder results/<experiment>, wherever it is. `show-prompt` and `generate-docs` work
in a clone.

Where to go on:
  {NAME} COMMAND --help     the arguments of a command
  docs/what-should-i-use.md          how to read the advice
  docs/other-trainers.md             the schemes in TRL and verl, and their runs judged
  README.md, config/README.md        the pipeline, and every key of an experiment
"""


def overview() -> str:
    """The text of `--help`: what the tool is for, its commands with an example each, and where to read on."""
    entries = [f"  {name:15}{command.purpose}\n{'':17}{NAME} {command.example}" for name, command in COMMANDS.items()]
    return "\n".join([ABOUT, "Commands:", *entries, "", NEXT])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: run the command that the first argument names with the arguments behind it."""
    terminal.accept_all_text()
    if arguments is None and hasattr(signal, "SIGPIPE"):  # Windows has none
        # `softmax-rewards … | head` ends quietly, like other commands, when `head` has read enough.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(overview(), end="")
    elif name == "--version":
        print(f"{NAME} {metadata.version(NAME)}")
    elif name not in COMMANDS:
        sys.exit(f"{NAME}: {plugins.unknown('command', name, COMMANDS)}")
    else:
        sys.argv[0] = f"{NAME} {name}"  # the name that the command's own help shows
        # Only the command that is called is imported: `status` does not wait for SciPy.
        importlib.import_module(COMMANDS[name].module).main(rest)


if __name__ == "__main__":
    main()
