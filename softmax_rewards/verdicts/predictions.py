"""The predictions P1–P3, made before the first runs, as claims."""

from softmax_rewards.verdicts.claims import HALF, centered, softmax
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast
from softmax_rewards.verdicts.judgment import Claim
from softmax_rewards.verdicts.rules import every, half_formatted
from softmax_rewards.verdicts.temperature_rules import falls_with_tau
from softmax_rewards.verdicts.wording import Words, better, worse


def _noise(tau: float) -> Claim:
    return Claim(
        f"P1a τ={tau}",
        f"τ={tau} fails through noise: softmax ends below its base model, centered softmax above",
        every(
            Contrast(softmax(tau), BASE, "final", -1),
            Contrast(centered(tau), BASE, "final", +1),
            Contrast(centered(tau), softmax(tau), "auc", +1),
        ),
        Words(  # without {size}, because one number cannot sum up three contrasts
            f"Softmax at τ = {tau}, with and without the push on every answer (three conditions, not all resolved)",
            f"At τ = {tau}, softmax made the model worse, and softmax without the push on every answer made it better",
            f"At τ = {tau}, softmax did not make the model worse, or leaving out the push on every answer did not help",
        ),
    )


PREDICTIONS: tuple[Claim, ...] = (
    _noise(0.75),
    _noise(1.0),
    _noise(2.0),
    Claim(
        "P1b",
        "Adding the constant 1 to the linear weights hurts",
        every(Contrast({"scheme": "linear_plus_one"}, LINEAR, "auc", -1)),
        worse("GRPO with a push on every answer", "GRPO"),
    ),
    Claim(
        "P2",
        "Success falls as τ grows; it does not rise first",
        falls_with_tau("softmax"),
        Words(  # the factor is e: the rule fits a line over log τ
            "How the success of softmax changes when τ grows by a factor of 2.7",
            "The success of softmax fell as τ grew, and it did not rise first",
            "The success of softmax rose with τ over at least a part of the temperatures tried",
        ),
    ),
    Claim(
        "P3",
        "Softmax's advantage appears where the answer format is not yet learned",
        half_formatted(Contrast(HALF, LINEAR)),
        better("Where the answer format is only half learned, softmax at τ = 0.5", "GRPO"),
    ),
)
