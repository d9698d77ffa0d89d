"""The confidence at which one of several comparisons is judged."""

from softmax_rewards.stats import CONFIDENCE


def strictest(members: int) -> float:
    """Confidence 1 − 0.05/m of one comparison among m = `members`: Bonferroni's, and the first step of Holm's.

    A comparison that must hold up among others is judged by it where its place in Holm's order is not known:
    for what it can detect, and for the best of several. 0 members count as 1.
    """
    return 1 - (1 - CONFIDENCE) / max(members, 1)
