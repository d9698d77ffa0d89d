"""The keys of a model's supervised warm start; `training/warm_start.py` carries it out."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WarmStart:
    """The keys of `warm_start` in a model's settings; a source may have other defaults."""

    steps: int = 0  # supervised updates; 0 leaves the model as it is
    traces: int = 32  # search traces an update
    learning_rate: float = 1e-5  # peak; linear warm-up, then cosine to a tenth
    max_microbatch_tokens: int = 8192  # of one forward pass, padding included, prompts not
    seed: int = 0  # of the traces
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for key, least in (("steps", 0), ("traces", 1), ("max_microbatch_tokens", 1), ("seed", 0), ("threads", 1)):
            if getattr(self, key) < least:
                raise ValueError(f"{key}: {getattr(self, key)}; allowed: integers from {least}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: {self.learning_rate}; allowed: numbers above 0")


NONE = WarmStart()
