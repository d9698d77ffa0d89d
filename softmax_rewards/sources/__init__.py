"""Where a base model comes from: one module a source.

A source has `Options`, a frozen dataclass of its config keys, and `make(options, task, data, out)`, which
writes a Hugging Face style folder and returns facts for its manifest. What all sources share happens here: the
choice of the prompt template, the warm start that `Options.warm_start` asks for, and the manifest. Heavy imports
belong inside functions, so that a config can be checked without them.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from softmax_rewards import plugins, strict, warm_start
from softmax_rewards.files import write_manifest

Template = Literal["auto", "chat", "base"]
"""Option of a pretrained model: how a task puts its prompts. `auto` is `chat` if the model has a chat template."""

ROLES = ("system", "user", "assistant")
CONVERSATION = [{"role": role, "content": "Let me think.\n<think>"} for role in ROLES]
TEMPLATE_SECONDS = 10.0  # of writing that conversation, which takes milliseconds


def build(model: dict[str, Any], task: dict[str, Any], data: Path, out: Path) -> None:
    """Make the base model that `model` (source and options) describes in `out`; `manifest.json` comes last.

    `data` are the puzzles of `task`, for the warm start. The manifest has the checksum of every file, the prompt
    template that the model expects, its number of parameters and whatever the source tells of itself. Raises
    ValueError, in one line, for options that are wrong and for what cannot be fetched, found or loaded.
    """
    from softmax_rewards.sources import _folder

    module = plugins.load(__name__, model["source"], "model source")
    options = strict.build(module.Options, {key: value for key, value in model.items() if key != "source"}, "model")
    out.mkdir(parents=True, exist_ok=True)
    (out / "manifest.json").unlink(missing_ok=True)
    facts = {"model": model, **module.make(options, task, data, out)}
    shape, _ = _folder.check(out)
    facts["parameters"] = shape.parameters
    if "template" not in facts:
        facts["template"] = choose_template(options.template, out)
    if options.warm_start.steps:
        facts["loss"] = warm_start.train(options.warm_start, task, data, facts["template"], out)
    write_manifest(out, [file.name for file in out.iterdir() if file.is_file() and file.name[0] != "."], **facts)


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
