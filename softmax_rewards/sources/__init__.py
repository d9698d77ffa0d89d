"""Where a base model comes from: one module a source.

A source has `Options`, a frozen dataclass of its config keys, and `make(options, task, data, out)`, which
writes a Hugging Face style folder and returns facts for its manifest. What all sources share happens here: the
choice of the prompt template, the warm start that `Options.warm_start` asks for, and the manifest. Heavy imports
belong inside functions, so that a config can be checked without them.
"""

from pathlib import Path
from typing import Any, Literal

from softmax_rewards import plugins, strict, warm_start
from softmax_rewards.files import write_manifest

Template = Literal["auto", "chat", "base"]
"""Option of a pretrained model: how a task puts its prompts. `auto` is `chat` if the model has a chat template."""


def build(model: dict[str, Any], task: dict[str, Any], data: Path, out: Path) -> None:
    """Make the base model that `model` (source and options) describes in `out`; `manifest.json` comes last.

    `data` are the puzzles of `task`, for the warm start. The manifest has the checksum of every file, the prompt
    template that the model expects, its number of parameters and whatever the source tells of itself. Raises
    ValueError, in one line, for options that are wrong and for what cannot be fetched, found or loaded.
    """
    from softmax_rewards.models.checkpoint import read_config
    from softmax_rewards.models.shape import Shape

    module = plugins.load(__name__, model["source"], "model source")
    options = strict.build(module.Options, {key: value for key, value in model.items() if key != "source"}, "model")
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    facts = {"model": model, **module.make(options, task, data, out)}
    facts["parameters"] = Shape.from_config(read_config(out)).parameters
    if "template" not in facts:
        facts["template"] = choose_template(options.template, out)
    if options.warm_start.steps:
        facts["loss"] = warm_start.train(options.warm_start, task, data, facts["template"], out)
    write_manifest(out, [file.name for file in out.iterdir() if file.is_file() and file.name[0] != "."], **facts)


def choose_template(wanted: Template, folder: Path) -> str:
    """What `wanted` means for the model in `folder`; ValueError if it asks for a chat template that is not there."""
    from softmax_rewards.models.tokenizer import Tokenizer

    has_chat = Tokenizer(folder).chat_template is not None
    if wanted == "auto":
        return "chat" if has_chat else "base"
    if wanted == "chat" and not has_chat:
        raise ValueError(f"model.template: chat, but {folder} has no chat template; allowed: auto, base")
    return wanted
