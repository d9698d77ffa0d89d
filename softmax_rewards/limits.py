"""How much is computed at once: what the configuration allows, less once the device's memory has run out."""

from dataclasses import dataclass

from softmax_rewards.progress import say
from softmax_rewards.run import Training


@dataclass
class Limits:
    """Halved for the rest of the run when the device's memory does not suffice; a resumed run begins with them."""

    rollout_rows: int  # sequences decoded at once
    microbatch_tokens: int  # of one forward pass of the update, padding included, prompts not

    @classmethod
    def of(cls, settings: Training) -> "Limits":
        return cls(settings.rollout_rows, settings.microbatch_tokens)

    def lower(self, name: str, value: int) -> None:
        """Set one of them, and say so."""
        setattr(self, name, value)
        say("memory", f"the device is out of memory: going on with training.{name} {value}")
