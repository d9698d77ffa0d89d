"""What the base model of an experiment sees: its prompts as text, for this pipeline and for other trainers.

A trainer that gets messages writes them with the model's own chat template. That template may close the thought, which
this pipeline keeps open (`thinking.py`), or write today's date. So the examples of other trainers get the text.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from softmax_rewards.common import hub, plugins
from softmax_rewards.common.files import read_json
from softmax_rewards.config import experiments, folders
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.data import tasks
from softmax_rewards.models import model_folder
from softmax_rewards.models.prompt_template import choose_template
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import thinking

SMALL = tuple(pattern for pattern in model_folder.PATTERNS if not pattern.endswith(".safetensors"))


@dataclass(frozen=True)
class PromptWriter:
    """Writes the prompts of a task for one base model."""

    task: ModuleType
    tokenizer: Tokenizer
    template: str
    """How the task writes its prompts: `chat`, `base` or `compact`."""

    @property
    def keeps_thinking_open(self) -> bool:
        """Whether the model's own chat template would close the thought of a prompt, and was changed."""
        return self.template == "chat" and thinking.is_changed(self.tokenizer.chat_template)

    def write(self, puzzle: dict[str, Any]) -> tuple[str, list[int]]:
        """The prompt as the model sees it: all of its text, special tokens included, and its token ids."""
        return self.tokenizer.prompt(self.task.prompt(puzzle, self.template))

    def plain_text(self, puzzle: dict[str, Any]) -> str:
        """The text from which the tokenizer of `transformers` makes the ids of the prompt, when it is called on text.

        That tokenizer adds its first tokens (Llama's BOS) itself, so they are left out here. TRL calls it so for a
        prompt that is a text. Raises ValueError if no text gives the ids.
        """
        text, ids = self.write(puzzle)
        beginning, _ = self.tokenizer.prompt("")
        plain = text.removeprefix(beginning)
        if self.tokenizer.prompt(plain)[1] != ids:
            raise ValueError(f"the chat template does not write {beginning!r} first, but the tokenizer would")
        return plain


def writer(experiment: Experiment, data: Path) -> PromptWriter:
    """The writer for the base model of `experiment`, made from the base model in the folder `data` if it is there.

    Otherwise only the small files of the model are read, fetched or made: nothing is trained. Raises ValueError, one
    line, if that fails, or if the model cannot be given the task's prompts.
    """
    run = experiment.runs()[0]
    task, _ = tasks.load(run.task)
    base = data / "models" / folders.model_key(run)
    if (base / "manifest.json").is_file():
        return PromptWriter(task, Tokenizer(base), read_json(base / "manifest.json")["template"])
    with _small_files(run.model, run.task) as (folder, template):
        if template == "chat":
            thinking.keep_open(folder)
        return PromptWriter(task, Tokenizer(folder), template)


@contextmanager
def _small_files(model: dict[str, Any], task: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """A folder with the tokenizer and the chat template of a model that is not made yet, and its prompt template."""
    few = model | {"layers": 1} if "layers" in model else model  # prompts do not depend on the number of layers
    options = experiments.options("sources", few)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if model["source"] == "local":
            template = choose_template(options.template, Path(model["path"]))
            for file in (file for pattern in SMALL for file in Path(model["path"]).glob(pattern)):
                (folder / file.name).write_bytes(file.read_bytes())
        elif model["source"] == "hub":
            _fetch(model, folder)
            template = choose_template(options.template, folder)
        else:
            facts = plugins.load(plugins.SOURCES, model["source"]).make(options, task, folder, folder)
            template = facts["template"] if "template" in facts else choose_template(options.template, folder)
        yield folder, template


def _fetch(model: dict[str, Any], folder: Path) -> None:
    try:
        hub.fetch(model["repository"], model["revision"], SMALL, folder)
    except ValueError as error:
        reason = str(error).partition("; by hand")[0]  # that advice is for a folder that stays
        raise ValueError(f"{reason}; allowed without the hub: model: {{source: local, path: <a folder>}}") from error
