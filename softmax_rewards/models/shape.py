"""The shape of a decoder: the keys of a checkpoint's Hugging Face `config.json` that the computation needs.

Defaults are those of `transformers`. A key that `decoder.py` does not support is refused here, by name. So every model
that loads has the right logits.
"""

import json
from dataclasses import dataclass
from typing import Any

FAMILIES = ("qwen2", "qwen3", "llama")

# Far above every existing model. A model without values is built from the config before the checkpoint's tensors are
# compared with it. These limits keep a wrong config from taking unlimited time and memory there.
LARGEST = {
    "vocab_size": 10**7,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "num_hidden_layers": 1000,
    "num_attention_heads": 10**4,
    "num_key_value_heads": 10**4,
    "head_dim": 10**4,
    "max_position_embeddings": 10**9,
    "original_max_position_embeddings": 10**9,
}

# Keys that can change the computation, each with the values that do not. A missing or null key is allowed as well.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False,),
    "partial_rotary_factor": (1.0,),
    "rope_interleaved": (False,),
    "num_experts": (0,),
    "num_local_experts": (0,),
    "quantization_config": (),
}


@dataclass(frozen=True)
class LinearScaling:
    """Every rotary frequency is divided by `factor` (position interpolation, arXiv 2306.15595)."""

    factor: float


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's scaling of rotary frequencies (arXiv 2407.21783).

    It depends on how often a pair turns within the original length. Below `low_freq_factor` turns the frequency is
    divided by `factor`. Above `high_freq_factor` turns it is unchanged. Between them it is interpolated.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_length: int


@dataclass(frozen=True)
class Shape:
    """The keys of `config.json` that the computation depends on, most of them under the same names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float
    rms_norm_eps: float
    tie_word_embeddings: bool
    qkv_bias: bool = False
    qk_norm: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    rope_scaling: LinearScaling | Llama3Scaling | None = None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Shape":
        """Read a `config.json`. Raises ValueError naming the key that is missing, wrong or not supported."""
        family = config.get("model_type")
        if family not in FAMILIES:
            raise _refusal("model_type", family, FAMILIES)
        for key, allowed in NEUTRAL.items():
            if config.get(key) is not None and config[key] not in allowed:
                raise _refusal(key, config[key], allowed)
        kinds = config.get("layer_types") or []
        if not isinstance(kinds, list):
            raise ValueError(f"config.json: layer_types {json.dumps(kinds)}; allowed: a list of full_attention")
        for kind in kinds:
            if kind != "full_attention":
                raise _refusal("layer_types", kind, ("full_attention",))
        hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
        # Llama 1 is older than grouped-query attention, and its configs do not have the key.
        kv_heads = _count(config, "num_key_value_heads", heads if family == "llama" else None)
        if heads % kv_heads:
            raise ValueError(f"config.json: num_key_value_heads {kv_heads}; allowed: divisors of {heads} heads")
        if config.get("head_dim") is None and family != "qwen3" and hidden % heads:
            raise ValueError(f"config.json: hidden_size {hidden}; without head_dim allowed: multiples of {heads} heads")
        head_dim = _count(config, "head_dim", 128 if family == "qwen3" else hidden // heads)
        if head_dim % 2:
            raise ValueError(f"config.json: head_dim {head_dim}; allowed: even numbers, because rotary pairs them")
        # Qwen2 ignores this key: it always has biases on q, k and v and none on o. In Qwen3 and Llama the key means all
        # four.
        attention_bias = family != "qwen2" and _switch(config, "attention_bias")
        rope = _rope(config)
        return cls(
            vocab_size=_count(config, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_count(config, "intermediate_size"),
            num_hidden_layers=_count(config, "num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            rope_theta=_positive({"rope_theta": config.get("rope_theta")} | rope, "rope_theta", 10_000.0),
            rms_norm_eps=_positive(config, "rms_norm_eps", 1e-6),
            tie_word_embeddings=_switch(config, "tie_word_embeddings"),
            qkv_bias=family == "qwen2" or attention_bias,
            qk_norm=family == "qwen3",
            o_bias=attention_bias,
            mlp_bias=family == "llama" and _switch(config, "mlp_bias"),
            rope_scaling=_scaling(rope, config),
        )

    @property
    def parameters(self) -> int:
        """The number of parameters. A tied head counts once."""
        hidden, inner, size = self.hidden_size, self.intermediate_size, self.head_dim
        queries, qkv = self.num_attention_heads * size, (self.num_attention_heads + 2 * self.num_key_value_heads) * size
        layer = hidden * (qkv + queries + 3 * inner + 2)
        layer += self.qkv_bias * qkv + self.o_bias * hidden
        layer += self.mlp_bias * (2 * inner + hidden) + self.qk_norm * 2 * size
        embeddings = (1 if self.tie_word_embeddings else 2) * self.vocab_size * hidden
        return embeddings + self.num_hidden_layers * layer + hidden


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings: `rope_scaling` (transformers 4), or else `rope_parameters` (transformers 5)."""
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(key) or {}
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        raise ValueError(f"config.json: {key} {json.dumps(rope)}; allowed: one flat mapping for all layers")
    if rope.get("partial_rotary_factor") not in (None, 1.0):
        raise _refusal("partial_rotary_factor", rope["partial_rotary_factor"], (1.0,))
    return {name: value for name, value in rope.items() if value is not None}


def _scaling(rope: dict[str, Any], config: dict[str, Any]) -> LinearScaling | Llama3Scaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(_positive(rope, "factor"))
    if kind != "llama3":
        raise _refusal("rope_type", kind, ("default", "linear", "llama3"))
    low, high = _positive(rope, "low_freq_factor"), _positive(rope, "high_freq_factor")
    if not low < high:
        raise ValueError(f"config.json: high_freq_factor {high}; allowed: numbers above low_freq_factor = {low}")
    # transformers looks for the original length in this order: the config, the rotary settings, the longest position.
    key = "original_max_position_embeddings"
    settings = config if config.get(key) is not None else rope
    length = _count(settings, key) if key in settings else _count(config, "max_position_embeddings")
    return Llama3Scaling(_positive(rope, "factor"), low, high, length)


def _count(config: dict[str, Any], key: str, default: int | None = None) -> int:
    """A whole number from 1 to the key's `LARGEST`. A missing or null key has the `default`, if there is one."""
    value = _value(config, key, default)
    if type(value) is not int or not 1 <= value <= LARGEST[key]:
        raise ValueError(f"config.json: {key} {json.dumps(value)}; allowed: integers from 1 to {LARGEST[key]}")
    return value


def _positive(config: dict[str, Any], key: str, default: float | None = None) -> float:
    value = _value(config, key, default)
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise ValueError(f"config.json: {key} {json.dumps(value)}; allowed: numbers above 0")
    return float(value)


def _switch(config: dict[str, Any], key: str) -> bool:
    value = _value(config, key, False)
    if type(value) is not bool:
        raise ValueError(f"config.json: {key} {json.dumps(value)}; allowed: true, false")
    return value


def _value(config: dict[str, Any], key: str, default: Any) -> Any:
    value = default if config.get(key) is None else config[key]
    if value is None:
        raise ValueError(f"config.json: {key} is missing")
    return value


def _refusal(key: str, value: Any, allowed: tuple[Any, ...]) -> ValueError:
    names = ", ".join(choice if isinstance(choice, str) else json.dumps(choice) for choice in allowed) or "none"
    return ValueError(f"config.json: {key} {json.dumps(value)} is not supported; allowed: {names}")
