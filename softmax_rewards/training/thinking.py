"""Chat templates that would close the thought which a prompt opens.

Every prompt in words ends with the beginning of an answer, "Let me solve this step by step.\\n<think>". The chat
template writes it as the assistant's message. Templates of hybrid models (Qwen3) put an empty `<think></think>` in
front of such a message, which is how they switch thinking off. Templates of thinking models open a `<think>` of their
own there. In both cases the model would see two thoughts.

A base model with such a template gets another one, in `chat_template.jinja`. It writes an answer with an open thought
as it stands, behind the template's own header. All other conversations are written as before.
"""

import json
import re
from pathlib import Path

from softmax_rewards.common.files import appearing
from softmax_rewards.models.tokenizer import Tokenizer

OPEN, CLOSED = "<think>", "</think>"
THOUGHT = re.compile(r"(<think>\s*)?(</think>\s*)?\Z")  # a thought without words, at the end of a text
FILE = "chat_template.jinja"

QUESTION, BEGINNING = "What is 1 + 1?", f"Step by step.\n{OPEN}"
PROBE = [{"role": "system", "content": "Reply."}, {"role": "user", "content": QUESTION}]

# `THOUGHT` is what the template writes behind the header of an answer: a thought that it opens, or opens and closes.
CONTINUING = """\
{#- An answer whose thought is still open is written as it stands: the template below would write another thought. -#}
{%- set is_begun = messages and messages[-1].role == 'assistant' and messages[-1].content is string
    and '<think>' in messages[-1].content and '</think>' not in messages[-1].content %}
{%- if is_begun %}
    {%- set begun_answer = messages[-1].content %}
    {%- set messages = messages[:-1] %}
    {%- set add_generation_prompt = true %}
{%- endif %}
{%- set conversation %}
TEMPLATE{% endset %}
{{- conversation.removesuffix(THOUGHT) + begun_answer if is_begun else conversation }}"""


def keep_open(folder: Path) -> bool:
    """Make sure that the chat template in `folder` leaves the thought open that a prompt opens.

    Returns whether the template had to be changed. The changed one is written to `chat_template.jinja`, which counts
    more than any other file with a template. Raises ValueError, naming the folder and what is allowed, if the template
    cannot be changed so.
    """
    tokenizer = Tokenizer(folder)
    if _is_open(_begun(tokenizer)):
        return False
    text, _ = tokenizer.prompt(PROBE)
    thought = text[len(THOUGHT.sub("", text)) :]
    template = continuing(tokenizer.chat_template or "", thought)
    with appearing(folder / FILE) as partial:
        partial.write_text(template, encoding="utf-8")
    if not _is_open(reply := _begun(Tokenizer(folder))):
        (folder / FILE).unlink()
        raise ValueError(
            f"{folder}: the chat template does not leave a thought open: it continues an answer as "
            f"{json.dumps(reply)}; allowed: a template that writes {OPEN} once and no {CLOSED}, or template: base"
        )
    return True


def continuing(template: str, thought: str) -> str:
    """The chat template, changed to write an answer with an open thought as it stands.

    `thought` is what the template writes behind the header of an answer, "" if nothing.
    """
    # Jinja drops one line break at the end of a template, but not in front of `endset`.
    return CONTINUING.replace("THOUGHT", json.dumps(thought)).replace("TEMPLATE", template.removesuffix("\n"))


def is_changed(template: str | None) -> bool:
    """Whether a chat template is one that `keep_open` wrote."""
    return (template or "").startswith(CONTINUING.partition("\n")[0])


def _begun(tokenizer: Tokenizer) -> str:
    """What stands behind the question in a prompt that begins the answer."""
    text, _ = tokenizer.prompt([*PROBE, {"role": "assistant", "content": BEGINNING}])
    return text.partition(QUESTION)[2]


def _is_open(reply: str) -> bool:
    return reply.rstrip().endswith(BEGINNING) and reply.count(OPEN) == 1 and CLOSED not in reply
