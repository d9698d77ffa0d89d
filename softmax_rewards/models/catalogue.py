"""Known pretrained models: their shapes, and where their weights come from.

`config` has the keys of the checkpoint's `config.json` that the decoder reads, and the ids of the special tokens, as
published on the Hugging Face hub. `revision` pins the commit. meta-llama's repositories are gated: a download needs an
account that accepted the license, and its token in `HF_TOKEN`.
"""

from dataclasses import dataclass
from typing import Any

from softmax_rewards.common import plugins


@dataclass(frozen=True)
class Entry:
    """One model. `name` is the name of its repository in lower case, without the owner."""

    name: str
    config: dict[str, Any]
    repository: str
    revision: str
    instruct: bool


def find(name: str) -> Entry:
    """The model called `name` (case does not matter). Raises ValueError with the nearest and all known names."""
    if name.lower() not in MODELS:
        raise ValueError(plugins.unknown("model", name, MODELS))
    return MODELS[name.lower()]


def _entries(
    shared: dict[str, Any], size: dict[str, Any], *checkpoints: tuple[str, str, dict[str, Any] | None]
) -> list[Entry]:
    """The entries of checkpoints of one shape, each given as (repository, revision, tuned).

    `tuned` has the keys of `config.json` that instruction tuning changed. It is None for a base model.
    """
    entries = []
    for repository, revision, tuned in checkpoints:
        name = repository.split("/")[1].lower()
        entries.append(Entry(name, {**shared, **size, **(tuned or {})}, repository, revision, tuned is not None))
    return entries


def _size(
    hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocabulary: int = 151_936, tied: bool = True
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


_QWEN2 = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "max_position_embeddings": 32_768,
    "bos_token_id": 151_643,
    "eos_token_id": 151_643,
}
_QWEN3 = {**_QWEN2, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 128}
_QWEN_CHAT = {"eos_token_id": 151_645}
_SMOLLM2 = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 100_000.0,
    "max_position_embeddings": 8192,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {
    **_SMOLLM2,
    "head_dim": 64,
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "max_position_embeddings": 131_072,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
}

MODELS: dict[str, Entry] = {
    entry.name: entry
    for entry in [
        *_entries(
            _QWEN2,
            _size(896, 4864, 24, 14, 2),
            ("Qwen/Qwen2.5-0.5B", "060db6499f32faf8b98477b0a26969ef7d8b9987", None),
            ("Qwen/Qwen2.5-0.5B-Instruct", "7ae557604adf67be50417f59c2c2f167def9a775", _QWEN_CHAT),
        ),
        *_entries(
            _QWEN2,
            _size(1536, 8960, 28, 12, 2),
            ("Qwen/Qwen2.5-1.5B", "8faed761d45a263340a0528343f099c05c9a4323", None),
            ("Qwen/Qwen2.5-1.5B-Instruct", "989aa7980e4cf806f80c7fef2b1adb7bc71aa306", _QWEN_CHAT),
        ),
        *_entries(
            _QWEN2,
            _size(2048, 11008, 36, 16, 2),
            ("Qwen/Qwen2.5-3B", "3aab1f1954e9cc14eb9509a215f9e5ca08227a9b", None),
            ("Qwen/Qwen2.5-3B-Instruct", "aa8e72537993ba99e69dfaafa59ed015b17504d1", _QWEN_CHAT),
        ),
        *_entries(
            _QWEN2,
            _size(3584, 18944, 28, 28, 4, vocabulary=152_064, tied=False),
            ("Qwen/Qwen2.5-7B", "d149729398750b98c0af14eb82c78cfe92750796", None),
            ("Qwen/Qwen2.5-7B-Instruct", "a09a35458c702b33eeacc393d103063234e8bc28", _QWEN_CHAT),
        ),
        *_entries(
            _QWEN3,
            _size(1024, 3072, 28, 16, 8),
            ("Qwen/Qwen3-0.6B-Base", "da87bfb608c14b7cf20ba1ce41287e8de496c0cd", None),
            ("Qwen/Qwen3-0.6B", "c1899de289a04d12100db370d81485cdf75e47ca", _QWEN_CHAT),
        ),
        *_entries(
            _QWEN3,
            _size(2048, 6144, 28, 16, 8),
            ("Qwen/Qwen3-1.7B-Base", "ea980cb0a6c2ae4b936e82123acc929f1cec04c1", None),
            ("Qwen/Qwen3-1.7B", "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e", _QWEN_CHAT),
        ),
        *_entries(
            _SMOLLM2,
            _size(576, 1536, 30, 9, 3, vocabulary=49_152),
            ("HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f77366fa6b3b4b768ec3050bf629380bac", {}),
        ),
        *_entries(
            _SMOLLM2,
            _size(960, 2560, 32, 15, 5, vocabulary=49_152),
            ("HuggingFaceTB/SmolLM2-360M-Instruct", "a10cc1512eabd3dde888204e902eca88bddb4951", {}),
        ),
        *_entries(
            _LLAMA3,
            _size(2048, 8192, 16, 32, 8, vocabulary=128_256),
            ("meta-llama/Llama-3.2-1B", "4e20de362430cd3b72f300e6b0f18e50e7166e08", None),
            (
                "meta-llama/Llama-3.2-1B-Instruct",
                "9213176726f574b556790deb65791e0c5aa438b6",
                {"eos_token_id": [128_001, 128_008, 128_009]},
            ),
        ),
    ]
}
