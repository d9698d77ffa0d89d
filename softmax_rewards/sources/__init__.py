"""Where a base model comes from: one module a source.

A source has `Options`, a frozen dataclass of its config keys, and `make(options, task, data, out)`, which
writes a Hugging Face style folder and returns facts for its manifest, among them the prompt `template` the model
expects. Heavy imports belong inside `make`, so that a config can be checked without them.
"""

from pathlib import Path
from typing import Any

from softmax_rewards import plugins
from softmax_rewards.files import write_manifest


def build(model: dict[str, Any], task: dict[str, Any], data: Path, out: Path) -> None:
    """Make the base model that `model` (source and options) describes in `out`; `manifest.json` comes last."""
    module = plugins.load(__name__, model["source"], "model source")
    options = {key: value for key, value in model.items() if key != "source"}
    out.mkdir(parents=True, exist_ok=True)
    facts = module.make(module.Options(**options), task, data, out)
    names = [file.name for file in out.iterdir() if file.suffix in (".safetensors", ".json")]
    write_manifest(out, [name for name in names if name != "manifest.json"], model=model, **facts)
