"""The prompt template of a base model: how a task writes its prompts for it."""

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
THOUGHT = "Let me think.\n<think>"  # a piece of every prompt in words
CONVERSATION = [{"role": role, "content": THOUGHT} for role in ROLES]
TEMPLATE_SECONDS = 10.0  # of writing that conversation, which takes milliseconds


def choose_template(template: Template, folder: Path) -> str:
    """What the option `template` means for the model in `folder`: `chat`, `base` or `compact`.

    `auto` is the recorded template. A model without a record gets `chat` if it has a chat template, else `base`.
    Raises ValueError for a template that the model in `folder` cannot read: better now than in every run.
    """
    from softmax_rewards.models.tokenizer import Tokenizer

    tokenizer = Tokenizer(folder)
    has_chat = tokenizer.chat_template is not None
    chosen: str = template
    if template == "auto":
        recorded = recorded_template(folder)
        # A recorded `chat` holds only while the chat template is there.
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
    """The template that the pipeline recorded with the model in `folder`; None for a model from elsewhere."""
    folder = folder.resolve()
    records = [folder / "manifest.json"]  # of a base model
    if folder.name == "model":  # of a run: results/<experiment>/runs/<ablation>/seed-<n>/model
        records.append(folder.parent / "run.json")
    for file in records:
        recorded = read_json(file).get("template") if file.is_file() else None
        if recorded in ("chat", "base", "compact"):  # other tools write files of these names, too
            return recorded
    return None


def unreadable(tokenizer: "Tokenizer", texts: Iterable[str]) -> list[str]:
    """Those of `texts` that the vocabulary of `tokenizer` cannot spell, each once."""
    # Some tokenizers put a space before a text, or drop it, so spaces at the ends say nothing.
    return [text for text in dict.fromkeys(texts) if tokenizer.decode(tokenizer.encode(text)).strip(" ") != text]


def _try_chat(tokenizer: "Tokenizer") -> None:
    """Raise ValueError for a chat template that cannot write a conversation as tasks have them."""
    try:
        with _time_limit(TEMPLATE_SECONDS):
            tokenizer.prompt(CONVERSATION)
    except (TimeoutError, ValueError) as error:
        raise ValueError(f"{error}; allowed: a template for {', '.join(ROLES)} messages, or template: base") from error


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError within the block after `seconds`.

    jinja's sandbox limits one `range`, but not nested ones, so a wrong template may never end. Only an alarm stops it
    at any point. Alarms work only in the main thread of a process; base models are made there.
    """
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
