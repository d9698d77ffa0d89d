"""The prompt template of a base model: the way in which a task writes prompts for it."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from softmax_rewards.common.files import read_json

if TYPE_CHECKING:
    from softmax_rewards.models.tokenizer import Tokenizer

Template = Annotated[
    Literal["auto", "chat", "base", "compact"],
    Field(
        description="How the task writes its prompts. `chat`: with the model's chat template. `base`: as text that the "
        "model continues. `compact`: as symbols without words, as for `mini`. `auto`: the template recorded with a "
        "model that this pipeline made; for other models `chat` if there is a chat template, else `base`."
    ),
]
"""Option of a pretrained model."""

ROLES = ("system", "user", "assistant")
THOUGHT = "Let me think.\n<think>"  # every prompt in words has something like it
CONVERSATION = [{"role": role, "content": THOUGHT} for role in ROLES]
TEMPLATE_SECONDS = 10.0  # allowed for writing that conversation, which usually takes milliseconds


def choose_template(template: Template, folder: Path) -> str:
    """The template that the option `template` means for the model in `folder`: `chat`, `base` or `compact`.

    `auto` is the recorded template. A model without a record gets `chat` if it has a chat template, otherwise `base`.
    Raises ValueError for a template that the model cannot read, so that the error comes before any run.
    """
    from softmax_rewards.models.tokenizer import Tokenizer

    tokenizer = Tokenizer(folder)
    has_chat = tokenizer.chat_template is not None
    chosen: str = template
    if template == "auto":
        recorded = recorded_template(folder)
        # A recorded `chat` counts only if the chat template is still there.
        chosen = recorded if recorded in ("base", "compact") else "chat" if has_chat else "base"
    if chosen == "chat":
        if not has_chat:
            raise ValueError(f"model.template: chat, but {folder} has no chat template; allowed: auto, base, compact")
        _try_chat(tokenizer)
    elif chosen == "base" and unreadable(tokenizer, [THOUGHT]):
        allowed = "compact, for a model that reads one character per token"
        raise ValueError(f"model.template: base, but {folder / 'tokenizer.json'} has no words; allowed: {allowed}")
    return chosen


def recorded_template(folder: Path) -> str | None:
    """The template that this pipeline recorded with the model in `folder`; None for another model."""
    folder = folder.resolve()
    records = [folder / "manifest.json"]  # of a base model
    if folder.name == "model":  # of a run: results/<experiment>/runs/<ablation>/seed-<n>/model
        records.append(folder.parent / "run.json")
    for file in records:
        recorded = read_json(file).get("template") if file.is_file() else None
        if recorded in ("chat", "base", "compact"):  # files of other tools may have the same names
            return recorded
    return None


def unreadable(tokenizer: "Tokenizer", texts: Iterable[str]) -> list[str]:
    """The `texts` that change when `tokenizer` encodes and decodes them, each once."""
    # Some tokenizers add or drop a space at the beginning, so spaces at the ends are not compared.
    return [text for text in dict.fromkeys(texts) if tokenizer.decode(tokenizer.encode(text)).strip(" ") != text]


def _try_chat(tokenizer: "Tokenizer") -> None:
    """Raise ValueError if the chat template cannot write a conversation with the roles that tasks use."""
    try:
        with _time_limit(TEMPLATE_SECONDS):
            tokenizer.prompt(CONVERSATION)
    except (TimeoutError, ValueError) as error:
        raise ValueError(f"{error}; allowed: a template for {', '.join(ROLES)} messages, or template: base") from error


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError within the block after `seconds`. In other threads than the main one there is no limit."""
    # jinja's sandbox limits one `range` but not nested ones, so a wrong template may never end. Only an alarm can stop
    # it at any point. Alarms work only in the main thread, and base models are made there.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
