"""A verdict in words: the three that there are, and each as a sentence for a newcomer, without statistics."""

SUPPORTED, CONTRADICTED, UNRESOLVED = "supported", "contradicted", "not resolved"
CLOSED = "Open: the usual weights taught the model nothing for certain, so there is nothing to compare with."


def plain(claim: str, verdict: str, difference: float) -> str:
    """`claim`, a clause to follow "that" or "whether", with its verdict.

    `{size}` in the clause is where the decided difference of two success rates belongs (`difference`, a
    fraction of all answers); a clause without it is not about one.
    """
    size, more = f"{abs(100 * difference):.1f}", "more" if difference > 0 else "fewer"
    if verdict == SUPPORTED:
        return f"Yes: {claim.format(size=f', by about {size} right answers in a hundred')}."
    if verdict == CONTRADICTED:
        measured = f" (measured: about {size} {more} right answers in a hundred)"
        return f"No: here it is not so that {claim.format(size=measured)}."
    return f"Open: these runs cannot tell whether {claim.format(size='')}."


def untried(claim: str) -> str:
    """`claim` where the experiment lacks what it takes to judge it."""
    return f"Not tried: nothing that was trained here could tell whether {claim.format(size='')}."
