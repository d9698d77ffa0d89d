"""Tokenizers over bytes, which can encode every text (byte-level BPE, as in GPT-2)."""

from pathlib import Path
from typing import Any

from softmax_rewards.common.files import write_json


def write_tokenizer(
    out: Path,
    tokens: list[str],
    merges: list[tuple[str, str]],
    names: dict[str, str],
    special: list[str],
    chat_template: str,
) -> dict[str, Any]:
    """Write `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` for the vocabulary `tokens`.

    `tokens` are written in the byte alphabet and ordered by id. `merges` are ordered by rank. `special` tokens are
    never split. `names` says which of them are `eos_token`, `pad_token` and so on. Each digit is a token. Returns the
    keys of `config.json` that depend on the vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json({**settings, **names, "chat_template": chat_template}, out / "tokenizer_config.json")
    ends = {f"{name}_id": ids[names[name]] for name in ("bos_token", "eos_token", "pad_token") if name in names}
    write_json(ends, out / "generation_config.json")
    return ends
