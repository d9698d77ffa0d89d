"""Tokenizers over bytes, which can encode every text (byte-level BPE, as in GPT-2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softmax_rewards.common.files import write_json


def write_tokenizer(
    out: Path,
    tokens: list[str],
    merges: list[tuple[str, str]],
    names: dict[str, str],
    special: list[str],
    chat_template: str | None = None,
    symbols: Sequence[str] = (),
    unknown: str | None = None,
) -> dict[str, Any]:
    """Write `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` for the vocabulary `tokens`.

    `tokens` are written in the byte alphabet and ordered by id. `merges` are ordered by rank. `special` tokens are
    never split, and neither are `symbols`, which are ordinary text. `names` says which of the special tokens are
    `eos_token`, `pad_token` and so on. A byte that has no token becomes the token `unknown`, or nothing. Each digit is
    a token. Returns the keys of `config.json` that depend on the vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(symbol, normalized=False) for symbol in symbols])
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **names}
    if chat_template is not None:
        settings["chat_template"] = chat_template
    write_json(settings, out / "tokenizer_config.json")
    ends = {f"{name}_id": ids[names[name]] for name in ("bos_token", "eos_token", "pad_token") if name in names}
    write_json(ends, out / "generation_config.json")
    return ends


def in_byte_alphabet(text: str) -> str:
    """`text` in the byte alphabet, one character per byte of its UTF-8: a newline is `Ċ`."""
    from tokenizers import pre_tokenizers

    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return "".join(piece for piece, _ in pieces)
