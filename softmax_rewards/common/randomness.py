"""Random streams named by what they are for, so that no state has to be carried along.

Every draw of a run comes from a stream keyed by (seed, purpose, step). Ablations that share a seed therefore
share prompts and noise, whatever they did before, and a resumed run needs nothing but its step number.
"""

import hashlib

import numpy as np
import torch


def numpy_stream(*key: int | str) -> np.random.Generator:
    """The numpy generator of the stream `key`."""
    return np.random.default_rng(_seed(key))


def torch_stream(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """The torch generator of the stream `key` on `device`."""
    return torch.Generator(device=device).manual_seed(_seed(key))


def _seed(key: tuple[int | str, ...]) -> int:
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1
