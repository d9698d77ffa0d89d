"""The keys of a model's supervised warm start; `training/warm_start.py` carries it out."""

from typing import Annotated, Literal

from pydantic import Field

from softmax_rewards.common.options import Count, Positive, Seed, option_class


@option_class("warm_start")
class WarmStart:
    """The keys of `warm_start` in a model's settings; a source may have other defaults."""

    steps: int = Field(default=0, ge=0, description="Number of supervised updates. 0 leaves the model as it is.")
    traces: Count = Field(default=32, description="Search traces per update.")
    learning_rate: Positive = Field(
        default=1e-5,
        description="Peak learning rate: a linear warm-up over the first twentieth of the steps, then a cosine down to "
        "a tenth.",
    )
    max_microbatch_tokens: Count = Field(
        default=8192,
        description="Greatest number of tokens in one forward pass, padding included. Traces and prompts are counted "
        "apart. It limits memory.",
    )
    seed: Seed = Field(default=0, description="Seed of the traces.")
    threads: Count = Field(
        default=1,
        description="Processor threads. Snakemake counts them as cores. Each thread computes a micro-batch of its own. "
        "The result does not depend on them.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device of the warm start. `auto`: a GPU if there is one, else the CPU."
    )


NONE = WarmStart()

Start = Annotated[
    WarmStart,
    Field(description="Supervised start before reinforcement learning: the keys that differ from the default."),
]
"""Option of every source."""
