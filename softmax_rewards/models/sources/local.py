"""`local`: a model in a local folder in the Hugging Face layout.

The weights are linked if the file system allows it, and copied otherwise. The small files are copied. This happens only
once, so a changed model needs a folder with another name.
"""

import shutil
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from softmax_rewards.common.files import appearing, link
from softmax_rewards.common.options import need, option_class
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import Template, choose_template
from softmax_rewards.models.warm_start import NONE, Start


@option_class("model")
class Options:
    """Where the model is, and how it is used."""

    path: str = Field(
        description="Folder with `config.json`, `tokenizer.json` and weights as safetensors. Written without `~`; a "
        "relative path begins where the pipeline runs. Weights are linked, not copied, on the same disk. The folder is "
        "read once: a changed model needs another path.",
    )
    template: Template = Field(default="auto")
    warm_start: Start = Field(default=NONE)

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        written_out = bool(self.path.strip()) and not self.path.startswith("~")
        need(self, "path", written_out, "a folder, written out, without ~")
        return self


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Link or copy the model's files into `out`. Raises ValueError if the model in the folder cannot be loaded."""
    folder = Path(options.path)
    if not folder.is_dir():
        raise ValueError(f"model.path: {folder} is no folder; allowed: one with {', '.join(model_folder.PATTERNS)}")
    if folder.samefile(out):
        raise ValueError(f"model.path: {folder} is where the model would go; allowed: any other folder")
    # Checked before copying, so that messages name the user's folder, which the user can repair.
    _, weights = model_folder.check(folder)
    template = choose_template(options.template, folder)
    names = {file.name for pattern in model_folder.PATTERNS for file in folder.glob(pattern) if file.is_file()}
    small = {name for name in names if not name.endswith(".safetensors")} - {"manifest.json"}
    for file in out.iterdir():
        if file.is_file() and file.name not in weights | small:  # from an earlier attempt
            file.unlink()
    for name in sorted(weights):
        link(folder / name, out / name)
    for name in sorted(small):
        with appearing(out / name) as partial:
            shutil.copyfile(folder / name, partial)
    return {"template": template}
