"""The prompt template of a base model: how a task writes its prompts for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

Template = Literal["auto", "chat", "base"]
"""Option of a pretrained model: how a task puts its prompts. `auto` is `chat` if the model has a chat template."""

ROLES = ("system", "user", "assistant")
CONVERSATION = [{"role": role, "content": "Let me think.\n<think>"} for role in ROLES]
TEMPLATE_SECONDS = 10.0  # of writing that conversation, which takes milliseconds


def choose_template(wanted: Template, folder: Path) -> str:
    """What `wanted` means for the model in `folder`.

    Raises ValueError for a chat template that is asked for and not there, and for one that cannot write a
    conversation as tasks have them: better now than in every run.
    """
    from softmax_rewards.models.tokenizer import Tokenizer

    tokenizer = Tokenizer(folder)
    has_chat = tokenizer.chat_template is not None
    if wanted == "chat" and not has_chat:
        raise ValueError(f"model.template: chat, but {folder} has no chat template; allowed: auto, base")
    if wanted == "base" or not has_chat:
        return "base"
    try:
        with _time_limit(TEMPLATE_SECONDS):
            tokenizer.prompt(CONVERSATION)
    except (TimeoutError, ValueError) as error:
        raise ValueError(f"{error}; allowed: a template for {', '.join(ROLES)} messages, or template: base") from error
    return "chat"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError within the block after `seconds`.

    jinja's sandbox bounds one `range`, not the product of nested ones, so a template may be mistaken in a way that
    never ends. Only an alarm stops it wherever it is, and alarms are for a process's main thread; base models are
    made there.
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
