"""`random`: the shape of a known model with random weights, for measurements and trials without the real weights.

The tokenizer has a token for each of the 256 bytes and ChatML's special tokens. Such a model mostly samples larger ids,
which decode to nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from softmax_rewards.models import catalogue
from softmax_rewards.models.prompt_template import Template
from softmax_rewards.models.sources import _byte_level
from softmax_rewards.models.warm_start import NONE, WarmStart

SPECIAL = {"pad_token": "<|endoftext|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Options:
    """Shape and initial weights."""

    shape: str  # a name of the catalogue
    layers: int | None = None  # fewer of them than the model has
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    template: Template = "auto"
    warm_start: WarmStart = NONE

    def __post_init__(self) -> None:
        try:
            depth = catalogue.find(self.shape).config["num_hidden_layers"]
        except ValueError as error:
            raise ValueError(f"model.shape: {error}") from None
        if self.layers is not None and not 1 <= self.layers <= depth:
            raise ValueError(f"model.layers: {self.layers}; allowed: 1 to {depth}, the layers of {self.shape}, or null")


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Write weights drawn from normal(0, 0.02), with norms 1 and biases 0, and the tokenizer to `out`."""
    import torch
    from tokenizers import pre_tokenizers

    from softmax_rewards.common.randomness import torch_stream
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.decoder import Decoder
    from softmax_rewards.models.shape import Shape

    special = list(SPECIAL.values())
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = _byte_level.write_tokenizer(out, tokens, [], SPECIAL, special, CHATML)
    config = catalogue.find(options.shape).config | ids
    if options.layers is not None:
        config["num_hidden_layers"] = options.layers
    model = Decoder.empty(Shape.from_config(config), "cpu", getattr(torch, options.dtype))
    checkpoint.save(model.initialize(torch_stream(options.seed, "initial weights")), out, config)
    return {}
