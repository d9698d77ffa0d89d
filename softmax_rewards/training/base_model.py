"""The base model of an experiment: a source writes its files, and this module adds what all sources share."""

from pathlib import Path
from typing import Any

from softmax_rewards.common import plugins
from softmax_rewards.common.files import write_manifest
from softmax_rewards.common.terminal import log
from softmax_rewards.config import experiments, local_model
from softmax_rewards.data import tasks
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import choose_template, unreadable
from softmax_rewards.training import thinking, warm_start


def build(model: dict[str, Any], task: dict[str, Any], data: Path, out: Path) -> None:
    """Write the base model that `model` (source and options) describes to `out`, `manifest.json` last.

    `data` is the folder with the puzzles of `task`, for the warm start. The manifest has the checksum of every file,
    the prompt template that the model expects, its number of parameters and the facts that the source returns. Raises
    ValueError, one line, for wrong options and for a model that cannot be fetched, found or loaded.
    """
    module = plugins.load(plugins.SOURCES, model["source"], "model source")
    options = experiments.options("sources", model)
    if getattr(options, "template", None) == "compact":
        _need_compact(task)  # fail before a model is downloaded
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    try:
        facts = {"model": model, **module.make(options, task, data, out)}
    except ValueError as error:
        if (found := local_model.problem(Path(model.get("path", out)))) is not None:
            raise ValueError(f"model: {found}") from error
        raise
    shape, _ = model_folder.check(out)
    facts["parameters"] = shape.parameters
    if "template" not in facts:
        facts["template"] = choose_template(options.template, out)
    if facts["template"] == "compact":
        _check_alphabet(task, model, out)
    if facts["template"] == "chat" and thinking.keep_open(out):
        log("base model", f"the chat template would close the thought of a prompt; {thinking.FILE} keeps it open")
    if options.warm_start.steps:
        facts["loss"] = warm_start.train(options.warm_start, task, data, facts["template"], out)
    names = [file.name for file in out.iterdir() if file.is_file() and file.name[0] != "."]
    # A published model of this pipeline brings its own manifest; it is replaced.
    write_manifest(out, [name for name in names if name != "manifest.json"], **facts)


def _need_compact(task: dict[str, Any]) -> tuple[str, ...]:
    """The symbols of the task's compact prompts; ValueError if it has none."""
    module, _ = tasks.load(task)
    if not module.ALPHABET:
        allowed = "a model with the template chat or base"
        raise ValueError(f"model.template: compact, but {task['name']} has no compact prompts; allowed: {allowed}")
    return module.ALPHABET


def _check_alphabet(task: dict[str, Any], model: dict[str, Any], out: Path) -> None:
    """Raise ValueError if the model in `out` cannot spell the compact prompts and answers of the task."""
    from softmax_rewards.models.tokenizer import Tokenizer

    missing = unreadable(Tokenizer(out), _need_compact(task))
    if missing:
        folder = model.get("path", out)  # the source `local` has a path: name the user's own folder
        raise ValueError(
            f"model.template: compact, but the tokenizer of {folder} lacks {' '.join(map(repr, missing))} of "
            f"{task['name']}; allowed: a model that spells them, such as one trained on {task['name']}"
        )
