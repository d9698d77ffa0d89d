"""The claims C1–C12 of the earlier notes and the predictions P1–P3, as data.

Each names the ablations it needs by their weighting and the rule that decides it. They were fixed, with their
endpoints and thresholds, before the runs: see docs/analysis-plan.md.
"""

from typing import Any

from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast
from softmax_rewards.verdicts.judgment import Claim
from softmax_rewards.verdicts.rules import (
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
            f"training with a softmax of temperature {tau} leaves the model worse than it was before{{size}}",
        ),
        Claim(
            f"C3b τ={tau}",
            f"Constant softmax τ={tau} ends below the linear baseline",
            every(Contrast(softmax(tau), LINEAR, "final", -1)),
            f"a softmax of temperature {tau} ends with a worse model than the usual weights{{size}}",
        ),
    ]


def _noise(tau: float) -> Claim:
    return Claim(
        f"P1a τ={tau}",
        f"τ={tau} fails through noise: softmax ends below its base model, centered softmax above",
        every(
            Contrast(softmax(tau), BASE, "final", -1),
            Contrast(centered(tau), BASE, "final", +1),
            Contrast(centered(tau), softmax(tau), "auc", +1),
        ),
        f"at temperature {tau} the softmax fails from the noise of pushing every answer up, and works without",
    )


HALF = softmax(0.5)


def _rises(ablation: dict, **training: Any) -> Contrast:
    return Contrast(ablation, BASE, "final", tolerant=False, training=training)


def _taught(how: str, training: dict[str, float]) -> list[Claim]:
    (form,) = training
    name = f"{form} {training[form]:g}"
    return [
        Claim(
            f"C12 {name}",
            f"Teacher forcing cures the cold start where a reference answer {how}",
            cold_start(_rises(LINEAR, **training)),
            f"a model that finds no right answer by itself learns where a reference answer {how}{{size}}",
            gated=False,
        ),
        Claim(
            f"C12 {name}, softmax",
            f"Where a reference answer {how}, softmax τ=0.5 beats linear on a cold start",
            cold_start(Contrast(HALF, LINEAR, tolerant=False, training=training)),
            f"the softmax teaches such a model more than the usual weights where a reference answer {how}{{size}}",
            gated=False,
        ),
    ]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Softmax τ=0.5 beats the linear baseline",
        every(Contrast(HALF, LINEAR)),
        "a softmax with temperature 0.5 teaches the model more than the usual weights{size}",
    ),
    Claim(
        "C1 best rates",
        "The same with each ablation at its best learning rate",
        best_rates(HALF, LINEAR),
        "the same holds when each of the two has the learning rate that suits it best{size}",
    ),
    Claim(
        "C2",
        "Softmax τ=0.25 beats the linear baseline",
        every(Contrast(softmax(0.25), LINEAR)),
        "a softmax with temperature 0.25 teaches the model more than the usual weights{size}",
    ),
    *_breaks(0.75),
    *_breaks(1.0),
    *_breaks(2.0),
    Claim(
        "C3c",
        "A critical τ lies between 0.5 and 1.0: 0.5 learns, 1.0 breaks",
        every(Contrast(HALF, BASE, "final"), Contrast(softmax(1.0), BASE, "final", -1)),
        "somewhere between temperature 0.5 and 1.0 the softmax turns from helping to harming",
    ),
    Claim(
        "C4a",
        "Annealing τ 0.75→0.25 works although constant 0.75 ends below its base model",
        every(
            Contrast(anneal(0.75, 0.25), softmax(0.75)),
            Contrast(softmax(0.75), BASE, "final", -1),
        ),
        "lowering the temperature from 0.75 to 0.25 while training rescues a softmax that fails at 0.75",
    ),
    Claim(
        "C4b",
        "Annealing τ 0.75→0.25 is no better than constant 0.5",
        no_better(Contrast(anneal(0.75, 0.25), HALF)),
        "lowering the temperature while training brings nothing over keeping it at 0.5",
    ),
    Claim(
        "C5",
        "Annealing τ 1.0→0.3 is too slow: it is below its base model in the first half",
        every(Contrast(anneal(1.0, 0.3), BASE, "first_half", -1)),
        "a temperature that starts at 1.0 and falls to 0.3 harms the model in the first half of training",
    ),
    Claim(
        "C6a",
        "The best softmax τ is half the reward range",
        peak_at_half("softmax"),
        "the best temperature of the softmax is half the distance between the best and the worst reward",
    ),
    Claim(
        "C6b",
        "The best centered-softmax τ is half the reward range",
        peak_at_half("softmax_centered"),
        "the same rule, half the reward range, holds for the softmax that does not push every answer up",
    ),
    Claim(
        "C7",
        "Entropy falls earlier with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "entropy_early", -1)),
        "the model becomes sure of its answers earlier with the softmax than with the usual weights",
    ),
    Claim(
        "C8a",
        "Answers are shorter early with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "length_early", -1)),
        "answers are shorter at the beginning of training with the softmax than with the usual weights",
    ),
    Claim(
        "C8b",
        "Answers are longer in the last fifth with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "length_late", +1)),
        "answers are longer near the end of training with the softmax than with the usual weights",
    ),
    Claim(
        "C9",
        "The gradient norm before clipping is higher early with softmax τ=0.5 than with linear",
        every(Contrast(HALF, LINEAR, "grad_norm_early", +1)),
        "the softmax asks for larger changes of the model at the beginning than the usual weights",
    ),
    Claim(
        "C10a",
        "Softmax τ=0.5 explores: it tries more equations an answer than linear",
        every(Contrast(HALF, LINEAR, "attempts", +1)),
        "a model trained with the softmax tries more ways before it answers",
    ),
    Claim(
        "C10b",
        "Softmax τ=0.5 explores: it checks itself more often than linear",
        every(Contrast(HALF, LINEAR, "self_checks", +1)),
        "a model trained with the softmax checks itself more often",
    ),
    Claim(
        "C10c",
        "Softmax τ=0.5 explores: it admits defeat more often than linear",
        every(Contrast(HALF, LINEAR, "gave_up", +1)),
        "a model trained with the softmax admits more often that it found no solution",
    ),
    Claim(
        "C11",
        "Softmax lets a model too small for GRPO learn",
        cold_start(_rises(HALF)),
        "the softmax teaches a model that is too weak to learn with the usual weights",
        gated=False,
    ),
    *_taught("is injected as a right answer", {"injection": 1.0}),
    *_taught("is injected with the highest reward", {"injection": 1.1}),
    *_taught("is imitated beside the policy gradient", {"imitation": 1.0}),
    *_taught("is a target for what the policy writes", {"target": 0.01}),
    _noise(0.75),
    _noise(1.0),
    _noise(2.0),
    Claim(
        "P1b",
        "Adding the constant 1 to the linear weights hurts",
        every(Contrast({"scheme": "linear_plus_one"}, LINEAR, "auc", -1)),
        "pushing every answer up on top of the usual weights harms",
    ),
    Claim(
        "P2",
        "Success falls with τ, without an optimum at half the range",
        falls_with_tau("softmax"),
        "the higher the temperature, the less the model learns, with nothing special at half the reward range",
    ),
    Claim(
        "P3",
        "Softmax's advantage appears where the answer format is not yet learned",
        half_formatted(Contrast(HALF, LINEAR)),
        "the softmax teaches more where the model has not yet learned the form of an answer{size}",
    ),
)
