"""Text <-> token ids through the checkpoint's own `tokenizer.json`."""

import json
from pathlib import Path

from tokenizers import Tokenizer as HFTokenizer


class Tokenizer:
    """The tokenizer of a model folder together with its end-of-sequence ids.

    `eos_ids` come from `generation_config.json` (which may name several) or, without it, `config.json`.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = HFTokenizer.from_file(str(folder / "tokenizer.json"))
        settings = folder / "generation_config.json"
        source = settings if settings.exists() else folder / "config.json"
        values = json.loads(source.read_text(encoding="utf-8"))
        eos = values.get("eos_token_id")
        if eos is None:
            raise ValueError(f"{source}: eos_token_id is missing; a token id or a list of them is needed")
        self.eos_ids: list[int] = eos if isinstance(eos, list) else [eos]
        self.pad_id: int = self.eos_ids[0] if values.get("pad_token_id") is None else values["pad_token_id"]

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without special tokens added around it."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; special tokens inside are kept, since they may carry the answer's format."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """`decode` of many rows at once."""
        return self._tokenizer.decode_batch(rows, skip_special_tokens=False)
