"""How a question becomes a prompt for a language model. Every prompt ends by opening `<think>`.

The prompt of `base` is TinyZero's (Pan et al., 2025), word for word. The messages of `chat` are GRPO-Zero's, which
corrected TinyZero's system text.
"""

TEMPLATES = ("compact", "chat", "base")

_SYSTEM = (
    "You are a helpful assistant. You first think about the reasoning process in your mind and then provide "
    "the user with the answer."
)
_PREFIX = "Let me solve this step by step.\n<think>"
_BASE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the reasoning process in the mind and then provides the user with the "
    "answer.\nUser: {question}\nAssistant: {prefix}"
)


def prompt(question: str, template: str) -> str | list[dict[str, str]]:
    """Text for `base`, messages for `chat`. The last message is the beginning of the assistant's reply."""
    if template == "base":
        return _BASE.format(question=question, prefix=_PREFIX)
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": _PREFIX},
    ]


def check(template: str, allowed: tuple[str, ...] = TEMPLATES) -> None:
    """Raise ValueError unless `template` is one of `allowed`."""
    if template not in allowed:
        raise ValueError(f"template: {template!r}; allowed: {', '.join(allowed)}")
