"""`hub`: a pretrained model from the Hugging Face hub, downloaded once and pinned to a commit."""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from softmax_rewards.common.options import need, option_class
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import Template
from softmax_rewards.models.warm_start import NONE, Start


@option_class("model")
class Options:
    """Which model, and how it is used."""

    repository: str = Field(description="`owner/name` on the Hugging Face hub.")
    revision: str = Field(
        default="main", description="Commit, branch or tag. Only a commit makes sure that the model stays the same."
    )
    template: Template = Field(default="auto")
    warm_start: Start = Field(default=NONE)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        named = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", self.repository) is not None
        need(self, "repository", named, "owner/name, such as Qwen/Qwen2.5-0.5B")
        need(self, "revision", bool(self.revision.strip()), "a commit, a branch or a tag")
        return self


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
