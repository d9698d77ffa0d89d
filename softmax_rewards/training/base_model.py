"""The base model of an experiment: what all sources share around the files that a source writes."""

from pathlib import Path
from typing import Any

from softmax_rewards.common import plugins
from softmax_rewards.common.files import write_manifest
from softmax_rewards.config import strict
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import choose_template
from softmax_rewards.training import warm_start


def build(model: dict[str, Any], task: dict[str, Any], data: Path, out: Path) -> None:
    """Make the base model that `model` (source and options) describes in `out`; `manifest.json` comes last.

    `data` are the puzzles of `task`, for the warm start. The manifest has the checksum of every file, the prompt
    template that the model expects, its number of parameters and whatever the source tells of itself. Raises
    ValueError, in one line, for options that are wrong and for what cannot be fetched, found or loaded.
    """
    module = plugins.load(plugins.SOURCES, model["source"], "model source")
    options = strict.build(module.Options, {key: value for key, value in model.items() if key != "source"}, "model")
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    facts = {"model": model, **module.make(options, task, data, out)}
    shape, _ = model_folder.check(out)
    facts["parameters"] = shape.parameters
    if "template" not in facts:
        facts["template"] = choose_template(options.template, out)
    if options.warm_start.steps:
        facts["loss"] = warm_start.train(options.warm_start, task, data, facts["template"], out)
    write_manifest(out, [file.name for file in out.iterdir() if file.is_file() and file.name[0] != "."], **facts)
