"""`mini`: the embedded default, a small model in Qwen2's shape that the pipeline trains itself in minutes.

It has one token per symbol of its task. It learns only from a warm start on synthetic search traces (the idea of
"Stream of Search", arXiv 2404.03683). After that its format is right, and its arithmetic mostly. It recognizes a right
value when it has written one, but it seldom succeeds. This is where reinforcement learning begins.
"""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from softmax_rewards.common.options import Count, need, option_class
from softmax_rewards.models.sources import _byte_level
from softmax_rewards.models.warm_start import Start, WarmStart

TRAINED_HERE = WarmStart(steps=1500, traces=64, learning_rate=3e-3, max_microbatch_tokens=1024, threads=2, device="cpu")


@option_class("model")
class Options:
    """Shape and warm start of the model."""

    hidden_size: Count = Field(default=96, description="Width of the model. A multiple of 2·`heads`.")
    layers: Count = Field(default=2, description="Number of layers.")
    heads: Count = Field(
        default=3, description="Number of attention heads. Some engines refuse heads of fewer than 32 numbers."
    )
    kv_heads: Count = Field(default=1, description="Number of key and value heads. A divisor of `heads`.")
    intermediate_size: Count = Field(default=288, description="Width of the feed-forward part.")
    seed: int = Field(default=0, description="Seed of the initial weights.")
    warm_start: Start = Field(default=TRAINED_HERE)

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        pair = 2 * self.heads  # a head turns pairs of numbers (rotary positions)
        need(self, "hidden_size", self.hidden_size % pair == 0, f"multiples of 2·heads = {pair}")
        need(self, "kv_heads", self.heads % self.kv_heads == 0, f"divisors of heads = {self.heads}")
        return self


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Write the model with its initial weights, and a tokenizer for the task's alphabet, to `out`."""
    from softmax_rewards.common.randomness import torch_stream
    from softmax_rewards.data import tasks
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.decoder import Decoder
    from softmax_rewards.models.shape import Shape

    module, _ = tasks.load(task)
    config = write_tokenizer(module.ALPHABET, out) | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": options.hidden_size,
        "intermediate_size": options.intermediate_size,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "num_key_value_heads": options.kv_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    model = Decoder(Shape.from_config(config)).initialize(torch_stream(options.seed, "initial weights"))
    checkpoint.save(model, out, config)
    return {"template": "compact"}


def write_tokenizer(alphabet: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Write `tokenizer.json` and its settings, with one token per symbol. Returns the keys of `config.json` for it.

    A character outside the alphabet becomes one `<unk>` per byte.
    """
    # Byte-level BPE without merges. Every trainer and engine that takes the folder for a Qwen2 model builds this kind
    # of tokenizer from the vocabulary, and then a newline must have its name in the byte alphabet.
    special = ["<pad>", "<eos>", "<unk>"]
    tokens = [*special, *map(_byte_level.in_byte_alphabet, alphabet)]
    names = {"eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    symbols = [symbol for symbol in alphabet if len(symbol.encode()) > 1]
    ids = _byte_level.write_tokenizer(out, tokens, [], names, special, symbols=symbols, unknown="<unk>")
    return {"vocab_size": len(tokens), **ids}
