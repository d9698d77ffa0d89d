"""`hub`: a pretrained model from the Hugging Face hub, downloaded once and pinned to a commit."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import Template
from softmax_rewards.models.warm_start import NONE, WarmStart


@dataclass(frozen=True)
class Options:
    """Which model, and how it is used."""

    repository: str  # owner/name
    revision: str = "main"  # a commit is safest: a branch moves on
    template: Template = "auto"
    warm_start: WarmStart = NONE

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", self.repository):
            raise ValueError(f"model.repository: {self.repository}; allowed: owner/name, such as Qwen/Qwen2.5-0.5B")
        if not self.revision.strip():
            raise ValueError(f"model.revision: {self.revision!r}; allowed: a commit, a branch or a tag")


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Download the model's files into `out`. Returns their `commit`. Raises ValueError if the model cannot be used."""
    from softmax_rewards.common import hub

    try:
        commit = hub.fetch(options.repository, options.revision, model_folder.PATTERNS, out)
    except ValueError as error:
        raise ValueError(f"{error}, and set model: {{source: local, path: {out}}}") from error
    try:
        model_folder.check(out)
    except ValueError as error:
        raise ValueError(f"model.repository: {options.repository}: {error}") from error
    return {"commit": commit}
