"""The tokenizer: text ↔ token ids, and conversations → prompts, with the checkpoint's own files.

`tokenizer.json` says how text is split into tokens. The chat template writes a conversation in the form that the model
was tuned on (`chat_template.py`).
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer as HFTokenizer

from softmax_rewards.common.files import read_json
from softmax_rewards.common.terminal import plain

if TYPE_CHECKING:
    import jinja2

LONGEST_PROMPT = 10**6  # characters; a template that writes more is wrong, and must not fill the memory


class Tokenizer:
    """The tokenizer of a model folder, its chat template and its end-of-sequence ids.

    Raises ValueError naming the file that is missing or unreadable, and the key that is wrong.
    """

    eos_ids: list[int]
    """The ids that end a completion, from `generation_config.json`, or else from `config.json`."""
    end_id: int
    """The id at the end of a supervised completion: the tokenizer's `eos_token`, or the first of `eos_ids`."""
    pad_id: int
    """Fills rows of unequal length. The model never sees it."""
    chat_template: str | None
    """The checkpoint's jinja template, or None."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        file = folder / "tokenizer.json"
        try:
            self._tokenizer = HFTokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises nothing more specific
            raise ValueError(f"{file}: not a readable tokenizer ({_one_line(error)})") from error
        self._tokenizer.no_truncation()  # the file may ask for truncation or padding, which would change prompts
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
        # The special tokens that the tokenizer puts before every text (Llama's BOS). Those behind a text do not belong
        # in a prompt. The appended 0 covers a tokenizer that gives special tokens only.
        probe = self._tokenizer.encode("a")
        self._beginning = probe.ids[: [*probe.special_tokens_mask, 0].index(0)]

    def check(self, vocab_size: int) -> None:
        """Raise ValueError naming file and key if an id is too large for a model of `vocab_size` tokens."""
        largest = max(self._tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
        for where, token in (
            (f"{self._eos_file}: eos_token_id", max(self.eos_ids)),
            (f"{self._pad_file}: pad_token_id", self.pad_id),
            (f"{self._folder / 'tokenizer.json'}: {largest[0]!r}", largest[1]),
        ):
            if token >= vocab_size:
                raise ValueError(f"{where}: {token}; allowed: ids below {vocab_size}, the vocab_size of config.json")

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. No special tokens are added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`. It includes special tokens, because tags like `<think>` may be special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """`decode` for many rows at once."""
        return self._tokenizer.decode_batch(rows, skip_special_tokens=False)

    def prompt(self, prompt: str | list[dict[str, str]]) -> tuple[str, list[int]]:
        """A prompt as the model sees it: its text and its token ids.

        A text gets the tokenizer's first tokens (Llama's BOS) in front. Messages (`role`, `content`) go through the
        chat template, which writes all special tokens itself. If the last message is the assistant's, it is the
        beginning of the answer. Otherwise the template opens a new answer.

        Raises ValueError if there are messages but no chat template, or if the template refuses the messages.
        """
        if isinstance(prompt, str):
            return self.decode(self._beginning) + prompt, [*self._beginning, *self.encode(prompt)]
        text = self._continued(prompt) if prompt[-1]["role"] == "assistant" else self._render(prompt, True)
        return text, self.encode(text)

    def _continued(self, messages: list[dict[str, str]]) -> str:
        """The conversation up to the end of its last message, like transformers' `continue_final_message`."""
        # A template closes every message. So a mark is put behind the last message, and the text is cut there.
        mark = "CONTINUE_FINAL_MESSAGE_TAG "
        content = messages[-1]["content"]
        text = self._render([*messages[:-1], {**messages[-1], "content": content + mark}], False)
        before, separator, after = text.rpartition(mark.strip())
        if not separator or content.strip() not in before:
            raise ValueError(f"{self._template_file}: the chat template drops the beginning of the assistant's message")
        # If the mark's last space is gone, the template strips messages. Then it would have stripped the content too.
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
        except Exception as error:  # a template is a program and can raise any error
            raise ValueError(f"{self._template_file}: chat template: {_one_line(error)}") from error
        return text

    @cached_property
    def _template(self) -> "jinja2.Template":
        from softmax_rewards.models import chat_template  # only chat prompts need jinja, which takes time to load

        return chat_template.compiled(self.chat_template or "")


def _one_line(error: Exception) -> str:
    return plain(" ".join(str(error).split())) or type(error).__name__


def _chat_template(folder: Path, settings: dict[str, Any]) -> tuple[str | None, Path]:
    """The chat template (or None), and the file that it comes from.

    Newer checkpoints have it in a file of its own. In older ones it is a setting: one text, or a list of named texts.
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
    """A key of `generation_config.json`, or else of `config.json`, and its file. None if both lack the key."""
    files = [folder / name for name in ("generation_config.json", "config.json")]
    values = [(_read(file).get(key), file) for file in files]
    return next((setting for setting in values if setting[0] is not None), (None, files[0]))


def _content(value: Any) -> Any:
    """The text of a special token. A file may have it as text or as a mapping with its properties."""
    return value.get("content") if isinstance(value, dict) else value


def _read(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty if there is no such file."""
    return read_json(file) if file.exists() else {}
