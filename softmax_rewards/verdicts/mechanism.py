"""Claims about the cause: why a softmax can do better than GRPO, and when.

GRPO divides by the group's standard deviation. Where right answers are rare, it then pays more for the format than the
reward does (`weighting/study/exchange_rate.py`). Where a limit cuts long answers, long search loses the format, so GRPO
learns to stop early. Two conditions show it: `trap`, with a limit of a few attempts, and `room`, with a far one.
"""

from typing import Any

from softmax_rewards.verdicts.claims import HALF, centered
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast
from softmax_rewards.verdicts.judgment import Claim
from softmax_rewards.verdicts.rules import every, interaction, no_better
from softmax_rewards.verdicts.wording import Words, better

DR_GRPO: dict[str, Any] = {"scheme": "dr_grpo"}
CENTERED = centered(0.5)
RAFT: dict[str, Any] = {"scheme": "raft"}
BATCH_STD: dict[str, Any] = {"scheme": "batch_std"}
FILTERED = {"skip_unfinished": True}  # answers that the limit cuts are left out of the loss
REFILLED = {"max_num_gen_batches": 3}  # groups of equal rewards are replaced
CONDITIONS = ("trap", "room")


def _needs_the_limit(name: str, weighting: dict[str, Any], words: str) -> Claim:
    return Claim(
        name,
        f"{words} gains on GRPO where a limit cuts long answers, and more than with room",
        interaction(Contrast(weighting, LINEAR), CONDITIONS),
        Words(
            f"The lead of {words} on GRPO with a near limit, minus that with a far one",
            f"{words} leads GRPO more clearly where a limit cuts long answers{{size}}",
            f"{words} leads GRPO less where a limit cuts long answers{{size}}",
        ),
    )


MECHANISM: tuple[Claim, ...] = (
    Claim(
        "M1",
        "Dr. GRPO, which does not divide by the group's standard deviation, beats GRPO",
        every(Contrast(DR_GRPO, LINEAR)),
        better("Dr. GRPO", "GRPO"),
    ),
    Claim(
        "M2",
        "GRPO that leaves unfinished answers out of its loss beats GRPO",
        every(Contrast(LINEAR, LINEAR, training=FILTERED, against_training={})),
        better("GRPO without unfinished answers", "GRPO"),
    ),
    Claim(
        "M3",
        "GRPO shortens its answers",
        every(Contrast(LINEAR, BASE, "length_final", -1)),
        Words(
            "The length of answers after training with GRPO, against that before",
            "GRPO made answers shorter than they were before training{size}",
            "GRPO made answers longer than they were before training{size}",
        ),
        search=True,
    ),
    Claim(
        "M4",
        "Softmax τ=0.5 has nothing over GRPO that leaves unfinished answers out",
        no_better(Contrast(HALF, LINEAR, against_training=FILTERED)),
        Words(
            "Softmax at τ = 0.5, against GRPO without unfinished answers",
            "Softmax at τ = 0.5 brought no gain over GRPO without unfinished answers{size}",
            "Softmax at τ = 0.5 was better than GRPO without unfinished answers{size}",
        ),
    ),
    Claim(
        "M5",
        "Softmax τ=0.5 beats Dr. GRPO: it does more than not to divide by the standard deviation",
        every(Contrast(HALF, DR_GRPO)),
        better("Softmax at τ = 0.5", "Dr. GRPO"),
    ),
    _needs_the_limit("M6", HALF, "Softmax at τ = 0.5"),
    _needs_the_limit("M7", DR_GRPO, "Dr. GRPO"),
    Claim(
        "M8",
        "Centered softmax τ=0.5 beats Dr. GRPO: to pay less for the format than the reward does helps",
        every(Contrast(CENTERED, DR_GRPO)),
        better("Softmax at τ = 0.5 without its constant", "Dr. GRPO"),
    ),
    Claim(
        "M9",
        "RAFT beats centered softmax τ=0.5: to pay nothing for the format helps still more",
        every(Contrast(RAFT, CENTERED)),
        better("RAFT", "softmax at τ = 0.5 without its constant"),
    ),
    Claim(
        "M10",
        "GRPO with the standard deviation of the whole batch beats GRPO",
        every(Contrast(BATCH_STD, LINEAR)),
        better("GRPO with the batch's standard deviation", "GRPO"),
    ),
    Claim(
        "M11",
        "GRPO that replaces groups of equal rewards beats GRPO",
        every(Contrast(LINEAR, LINEAR, training=REFILLED, against_training={})),
        better("GRPO with refilled groups", "GRPO"),
    ),
)
