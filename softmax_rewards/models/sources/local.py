"""`local`: a model in a local folder in the Hugging Face layout.

The weights are linked if the file system allows it, and copied otherwise. The small files are copied. This happens only
once, so a changed model needs a folder with another name.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.common.files import appearing, link
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import Template, choose_template
from softmax_rewards.models.warm_start import NONE, WarmStart


@dataclass(frozen=True)
class Options:
    """Where the model is, and how it is used."""

    path: str  # relative to the folder that the pipeline runs in
    template: Template = "auto"
    warm_start: WarmStart = NONE

    def __post_init__(self) -> None:
        if not self.path.strip() or self.path.startswith("~"):
            raise ValueError(f"model.path: {self.path!r}; allowed: a folder, written out, without ~")


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
