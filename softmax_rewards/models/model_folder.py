"""The files of a model folder: weights in safetensors, and small files beside them."""

from pathlib import Path

from softmax_rewards.models.shape import Shape

PATTERNS = ("model*.safetensors", "*.json", "merges.txt", "*.jinja")
"""The files of a pretrained model that are needed here. Pickled weights and copies in other formats are left out."""

NEEDED = ("config.json", "tokenizer.json")


def check(folder: Path) -> tuple[Shape, set[str]]:
    """Check that the model in `folder` can be loaded; return its shape and the names of its weight files.

    Raises ValueError naming the file, and the key or tensor, that is missing or wrong.
    """
    from softmax_rewards.models import checkpoint  # here, because it imports torch, which a check of configs must not
    from softmax_rewards.models.tokenizer import Tokenizer

    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: {', '.join(missing)} missing; needed: {', '.join(NEEDED)} and model*.safetensors")
    shape, stored = checkpoint.check(folder)
    Tokenizer(folder).check(shape.vocab_size)
    return shape, {tensor.file.name for tensor in stored.values()}
