"""The commands beside the pipeline: `softmax-rewards COMMAND`, or `python -m softmax_rewards COMMAND`."""

import importlib
import sys

COMMANDS = {
    "status": ("softmax_rewards.training.status", "how far every run is"),
    "advise": ("softmax_rewards.integrations.advise", "which scheme to use, from a log of your own rewards"),
    "judge": ("softmax_rewards.integrations.imported", "runs of TRL or verl, judged like our own"),
    "generate-docs": ("softmax_rewards.config.documentation", "tables and schema of the configuration"),
    "tensorboard": ("softmax_rewards.training.tensorboard", "the runs' curves as event files"),
}


def main() -> None:
    """Run the command that the first argument names with the arguments behind it."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print("usage: softmax-rewards COMMAND [ARGUMENTS]\n")
        for name, (_, purpose) in COMMANDS.items():
            print(f"  {name:12} {purpose}")
        return
    if command not in COMMANDS:
        sys.exit(f"softmax-rewards: unknown command {command!r}; allowed: {', '.join(COMMANDS)}")
    # Each command is loaded by itself: `status` answers without an import of the others.
    sys.argv[0] = f"softmax-rewards {command}"
    importlib.import_module(COMMANDS[command][0]).main(arguments)


if __name__ == "__main__":
    main()
