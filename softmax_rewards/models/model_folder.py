"""What belongs to a model folder: weights in safetensors, and the small files beside them."""

from pathlib import Path

from softmax_rewards.models.shape import Shape

PATTERNS = ("model*.safetensors", "*.json", "merges.txt", "*.jinja")
"""Files that a pretrained model needs here: no pickled weights, no second copy of them in another format."""

NEEDED = ("config.json", "tokenizer.json")


def check(folder: Path) -> tuple[Shape, set[str]]:
    """The shape of the model in `folder` and the names of its files of weights, if it can be loaded.

    Raises ValueError naming the file, and the key or tensor, that is missing or not as it must be.
    """
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.tokenizer import Tokenizer

    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: {', '.join(missing)} missing; needed: {', '.join(NEEDED)} and model*.safetensors")
    shape, stored = checkpoint.check(folder)
    Tokenizer(folder).check(shape.vocab_size)
    return shape, {tensor.file.name for tensor in stored.values()}
