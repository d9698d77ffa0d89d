"""The claims C1–C12 of the earlier notes and the predictions P1–P3, as data.

Each names the arms it needs by their weighting and the rule that decides it. They were fixed, with their
endpoints and thresholds, before the runs: see docs/analysis-plan.md.
"""

from typing import Any

from softmax_rewards.evidence import BASE, LINEAR, Contrast
from softmax_rewards.verdicts import (
    Claim,
    best_rates,
    cold_start,
    every,
    falls_with_tau,
    half_formatted,
    no_better,
    peak_at_half,
)


def softmax(tau: Any) -> dict:
    return {"scheme": "softmax", "tau": tau}


def centered(tau: float) -> dict:
    return {"scheme": "softmax_centered", "tau": tau}


def anneal(start: float, end: float) -> dict:
    return softmax({"from": start, "to": end})


def _breaks(tau: float) -> list[Claim]:
    return [
        Claim(
            f"C3a τ={tau}",
            f"Constant softmax τ={tau} ends below its own base model",
            every(Contrast(softmax(tau), BASE, "final", -1)),
        ),
        Claim(
            f"C3b τ={tau}",
            f"Constant softmax τ={tau} ends below the linear baseline",
            every(Contrast(softmax(tau), LINEAR, "final", -1)),
        ),
    ]


def _noise(tau: float) -> Claim:
    return Claim(
        f"P1a τ={tau}",
        f"τ={tau} fails through noise: softmax ends below its base model, centred softmax above",
        every(
            Contrast(softmax(tau), BASE, "final", -1),
            Contrast(centered(tau), BASE, "final", +1),
            Contrast(centered(tau), softmax(tau), "auc", +1),
        ),
    )


HALF = softmax(0.5)


def _rises(arm: dict, **training: Any) -> Contrast:
    return Contrast(arm, BASE, "final", tolerant=False, training=training)


def _taught(how: str, training: dict[str, float]) -> list[Claim]:
    (form,) = training
    name = f"{form} {training[form]:g}"
    return [
        Claim(
            f"C12 {name}",
            f"Teacher forcing cures the cold start: a reference {how}",
            cold_start(_rises(LINEAR, **training)),
            gated=False,
        ),
        Claim(
            f"C12 {name}, softmax",
            f"There softmax τ=0.5 is better than linear: a reference {how}",
            cold_start(Contrast(HALF, LINEAR, tolerant=False, training=training)),
            gated=False,
        ),
    ]


CLAIMS: tuple[Claim, ...] = (
    Claim("C1", "Softmax τ=0.5 beats the linear baseline", every(Contrast(HALF, LINEAR))),
    Claim("C1 best rates", "The same with each arm at its best learning rate", best_rates(HALF, LINEAR)),
    Claim("C2", "Softmax τ=0.25 beats the linear baseline", every(Contrast(softmax(0.25), LINEAR))),
    *_breaks(0.75),
    *_breaks(1.0),
    *_breaks(2.0),
    Claim(
        "C3c",
        "A critical τ lies between 0.5 and 1.0: 0.5 learns, 1.0 breaks",
        every(Contrast(HALF, BASE, "final"), Contrast(softmax(1.0), BASE, "final", -1)),
    ),
    Claim(
        "C4a",
        "Annealing τ 0.75→0.25 works although constant 0.75 ends below its base model",
        every(
            Contrast(anneal(0.75, 0.25), softmax(0.75)),
            Contrast(softmax(0.75), BASE, "final", -1),
        ),
    ),
    Claim(
        "C4b",
        "Annealing τ 0.75→0.25 is no better than constant 0.5",
        no_better(Contrast(anneal(0.75, 0.25), HALF)),
    ),
    Claim(
        "C5",
        "Annealing τ 1.0→0.3 is too slow: it is below its base model in the first half",
        every(Contrast(anneal(1.0, 0.3), BASE, "first_half", -1)),
    ),
    Claim("C6a", "The best softmax τ is half the reward range", peak_at_half("softmax")),
    Claim("C6b", "The best centred-softmax τ is half the reward range", peak_at_half("softmax_centered")),
    Claim(
        "C7",
        "Entropy falls earlier with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "entropy_early", -1)),
    ),
    Claim(
        "C8a",
        "Answers are shorter early with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "length_early", -1)),
    ),
    Claim(
        "C8b",
        "Answers are longer in the last fifth with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "length_late", +1)),
    ),
    Claim(
        "C9",
        "The gradient norm before clipping is higher early with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "grad_norm_early", +1)),
    ),
    Claim(
        "C10a",
        "Softmax τ=0.5 explores: it tries more equations an answer than linear",
        every(Contrast(HALF, LINEAR, "attempts", +1)),
    ),
    Claim(
        "C10b",
        "Softmax τ=0.5 explores: it checks itself more often than linear",
        every(Contrast(HALF, LINEAR, "self_checks", +1)),
    ),
    Claim(
        "C10c",
        "Softmax τ=0.5 explores: it admits defeat more often than linear",
        every(Contrast(HALF, LINEAR, "gave_up", +1)),
    ),
    Claim("C11", "Softmax lets a model too small for GRPO learn", cold_start(_rises(HALF)), gated=False),
    *_taught("injected as a right answer", {"injection": 1.0}),
    *_taught("injected with the highest reward", {"injection": 1.1}),
    *_taught("imitated beside the policy gradient", {"imitation": 1.0}),
    *_taught("as a target for what the policy writes", {"target": 0.01}),
    _noise(0.75),
    _noise(1.0),
    _noise(2.0),
    Claim(
        "P1b",
        "Adding the constant 1 to the linear weights hurts",
        every(Contrast({"scheme": "linear_plus_one"}, LINEAR, "auc", -1)),
    ),
    Claim("P2", "Success falls with τ, without an optimum at half the range", falls_with_tau("softmax")),
    Claim(
        "P3",
        "Softmax's advantage appears where the answer format is not yet learned",
        half_formatted(Contrast(HALF, LINEAR)),
    ),
)
