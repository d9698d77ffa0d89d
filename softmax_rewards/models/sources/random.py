"""`random`: the shape of a known model with random weights, for measurements and trials without the real weights.

The tokenizer has a token for each of the 256 bytes and ChatML's special tokens. Such a model mostly samples larger ids,
which decode to nothing.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from softmax_rewards.common.options import need, option_class
from softmax_rewards.models import catalogue
from softmax_rewards.models.prompt_template import Template
from softmax_rewards.models.sources import _byte_level
from softmax_rewards.models.warm_start import NONE, Start

SPECIAL = {"pad_token": "<|endoftext|>", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@option_class("model")
class Options:
    """Shape and initial weights."""

    shape: str = Field(
        description="Name of a model in `softmax_rewards/models/catalogue.py`, such as `qwen2.5-3b-instruct`."
    )
    layers: int | None = Field(
        default=None, description="Number of layers, if fewer than that model has. `null`: all of them."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Number format of the weights on disk."
    )
    seed: int = Field(default=0, description="Seed of the weights.")
    template: Template = Field(default="auto")
    warm_start: Start = Field(default=NONE)

    @field_validator("shape")
    @classmethod
    def _check_shape(cls, shape: str) -> str:
        catalogue.find(shape)
        return shape

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        depth = catalogue.find(self.shape).config["num_hidden_layers"]
        allowed = f"1 to {depth}, the layers of {self.shape}, or null"
        need(self, "layers", self.layers is None or 1 <= self.layers <= depth, allowed)
        return self


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
