"""Text <-> token ids, and conversations <-> prompts, through the checkpoint's own files.

`tokenizer.json` cuts text into tokens, and the chat template, a jinja program that every instructed checkpoint
brings along, writes a conversation as the text that the model was tuned on. A checkpoint may come from anywhere,
so its template runs in jinja's sandbox: it can read the conversation and nothing else.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer as HFTokenizer

from softmax_rewards.common.files import read_json
from softmax_rewards.common.terminal import plain

# What `strftime_now` tells a template that writes the date: always this day, which Llama 3's own template falls
# back to. A run must not depend on the day it is made, nor change its prompts at midnight.
TODAY = datetime(2024, 7, 26)

LONGEST_PROMPT = 10**6  # characters; a template that writes more is mistaken, and must not fill the memory


class Tokenizer:
    """The tokenizer of a model folder, its chat template and its end-of-sequence ids.

    Raises ValueError naming the file that is missing or unreadable, and the key that is not as it must be.
    """

    eos_ids: list[int]
    """What ends a completion: `generation_config.json` may name several ids, else `config.json` counts."""
    end_id: int
    """The one of `eos_ids` that a supervised completion ends with: the tokenizer's `eos_token` if it is among them."""
    pad_id: int
    """Fills rows of unequal length; never seen by the model."""
    chat_template: str | None
    """The checkpoint's jinja template, None if it has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file = folder / "tokenizer.json"
        try:
            self._tokenizer = HFTokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises nothing more specific
            raise ValueError(f"{file}: not a readable tokenizer ({_one_line(error)})") from error
        self._tokenizer.no_truncation()  # a file may come with limits of its own
        self._tokenizer.no_padding()
        settings = {**_read(folder / "special_tokens_map.json"), **_read(folder / "tokenizer_config.json")}
        named = {key: _content(value) for key, value in settings.items() if key.endswith("_token")}
        self._special = {key: token for key, token in named.items() if isinstance(token, str)}
        self.chat_template, self._template_file = _chat_template(folder, settings)
        eos, self._eos_file = _generation_setting(folder, "eos_token_id")
        pad, self._pad_file = _generation_setting(folder, "pad_token_id")
        if eos is None:
            raise ValueError(f"{self._eos_file}: eos_token_id is missing; allowed: an id or a list")
        self.eos_ids = eos if isinstance(eos, list) else [eos]
        if not self.eos_ids or any(type(value) is not int or value < 0 for value in self.eos_ids):
            raise ValueError(f"{self._eos_file}: eos_token_id: {json.dumps(eos)}; allowed: an id or a list of ids")
        if pad is not None and type(pad) is not int:
            raise ValueError(f"{self._pad_file}: pad_token_id: {json.dumps(pad)}; allowed: an id")
        eos_token_id = self._tokenizer.token_to_id(self._special.get("eos_token", ""))
        self.end_id = eos_token_id if eos_token_id in self.eos_ids else self.eos_ids[0]
        self.pad_id = self.eos_ids[0] if pad is None or pad < 0 else pad
        # What the tokenizer puts before every text (Llama's BOS). What it may put behind does not belong in a prompt.
        probe = self._tokenizer.encode("a")
        self._beginning = probe.ids[: [*probe.special_tokens_mask, 0].index(0)]

    def check(self, vocab_size: int) -> None:
        """Raise ValueError, naming file and key, for an id that a model of `vocab_size` tokens does not have."""
        largest = max(self._tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
        for where, token in (
            (f"{self._eos_file}: eos_token_id", max(self.eos_ids)),
            (f"{self._pad_file}: pad_token_id", self.pad_id),
            (f"{self._folder / 'tokenizer.json'}: {largest[0]!r}", largest[1]),
        ):
            if token >= vocab_size:
                raise ValueError(f"{where}: {token}; allowed: ids below {vocab_size}, the vocab_size of config.json")

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without special tokens added around it."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; special tokens inside are kept, since they may carry the answer's format."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """`decode` of many rows at once."""
        return self._tokenizer.decode_batch(rows, skip_special_tokens=False)

    def prompt(self, prompt: str | list[dict[str, str]]) -> tuple[str, list[int]]:
        """A prompt as the model sees it: its text and its token ids.

        Text is preceded by the tokenizer's own first tokens, if it has any. Messages (`role`, `content`) go
        through the chat template, which writes all special tokens itself. A last message of the assistant's is
        the beginning of the answer, which generation continues; otherwise the template opens a new answer.

        Raises ValueError for messages without a chat template, or if the template refuses them.
        """
        if isinstance(prompt, str):
            return self.decode(self._beginning) + prompt, [*self._beginning, *self.encode(prompt)]
        text = self._continued(prompt) if prompt[-1]["role"] == "assistant" else self._render(prompt, True)
        return text, self.encode(text)

    def _continued(self, messages: list[dict[str, str]]) -> str:
        """The conversation up to the end of its last message, as with transformers' `continue_final_message`."""
        mark = "CONTINUE_FINAL_MESSAGE_TAG "
        content = messages[-1]["content"]
        text = self._render([*messages[:-1], {**messages[-1], "content": content + mark}], False)
        before, separator, after = text.rpartition(mark.strip())
        if not separator or content.strip() not in before:
            raise ValueError(f"{self._template_file}: the chat template drops the beginning of the assistant's message")
        # A template that strips messages removed the mark's space. It would also have removed the content's.
        return before if after.startswith(" ") else before.rstrip()

    def _render(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        if self.chat_template is None:
            raise ValueError(f"{self._folder}: no chat template, so it takes no messages; allowed: template: base")
        try:
            pieces = self._template.generate(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special,
            )
            text = ""
            for piece in pieces:
                text += piece
                if len(text) > LONGEST_PROMPT:
                    raise ValueError(f"a prompt of more than {LONGEST_PROMPT} characters")
        except Exception as error:  # a template is a program and may fail in any way
            raise ValueError(f"{self._template_file}: chat template: {_one_line(error)}") from error
        return text

    @cached_property
    def _template(self) -> jinja2.Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _raise_exception, "strftime_now": TODAY.strftime}
        return environment.from_string(self.chat_template or "")


class _Generation(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}` marks the assistant's tokens for training; here it means nothing."""

    tags = {"generation"}  # noqa: RUF012 (jinja's own interface)

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_write")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _write(self, caller: Callable[[], str]) -> str:
        return caller()


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """jinja's own filter escapes HTML, which no model was tuned on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _one_line(error: Exception) -> str:
    return plain(" ".join(str(error).split())) or type(error).__name__


def _chat_template(folder: Path, settings: dict[str, Any]) -> tuple[str | None, Path]:
    """The template: a file of its own in newer checkpoints, else a setting, one text or a list of named ones.

    Returns the template, or None, and the file that it is from.
    """
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return file.read_text(encoding="utf-8"), file
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{file}: not a readable text ({error})") from error
    file, template = folder / "tokenizer_config.json", settings.get("chat_template")
    if isinstance(template, list) and all(isinstance(entry, dict) for entry in template):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry.get("name"), str)}
        if len(named) == len(template):
            template = named.get("default")
    if not isinstance(template, str | None):
        allowed = "allowed: text, or a list of {name, template}"
        raise ValueError(f"{file}: chat_template: {json.dumps(template)[:100]}; {allowed}")
    return template, file


def _generation_setting(folder: Path, key: str) -> tuple[Any, Path]:
    """A key of `generation_config.json`, else of `config.json`, and the file it is from; None if both lack it."""
    files = [folder / name for name in ("generation_config.json", "config.json")]
    values = [(_read(file).get(key), file) for file in files]
    return next((setting for setting in values if setting[0] is not None), (None, files[0]))


def _content(value: Any) -> Any:
    """The text of a special token, which is written plainly or as a mapping with its properties."""
    return value.get("content") if isinstance(value, dict) else value


def _read(file: Path) -> dict[str, Any]:
    """A JSON file's mapping, empty if there is no such file."""
    return read_json(file) if file.exists() else {}
