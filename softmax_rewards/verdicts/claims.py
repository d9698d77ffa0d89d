"""The claims C1–C12 of the earlier notes, as data.

Each claim has a rule that decides it. The rule finds the ablations it needs by their weighting, not by their name.
Claims, endpoints and thresholds were fixed before the runs: see docs/analysis-plan.md.
"""

from dataclasses import replace
from typing import Any

from softmax_rewards.verdicts.evidence import BASE, ENDPOINTS, LINEAR, Contrast
from softmax_rewards.verdicts.judgment import Claim
from softmax_rewards.verdicts.rate_rules import best_rates
from softmax_rewards.verdicts.rules import WARM, cold_start, every, no_better, own_count
from softmax_rewards.verdicts.temperature_rules import peak_at_half
from softmax_rewards.verdicts.wording import Words, better, worse


def softmax(tau: Any) -> dict[str, Any]:
    return {"scheme": "softmax", "tau": tau}


def centered(tau: float) -> dict[str, Any]:
    return {"scheme": "softmax_centered", "tau": tau}


def anneal(start: float, end: float) -> dict[str, Any]:
    return softmax({"from": start, "to": end})


HALF = softmax(0.5)


def _habit(name: str, statement: str, endpoint: str, sign: int, yes: str, no: str) -> Claim:
    """A claim that `endpoint` is higher (`sign` 1) or lower (−1) with softmax τ = 0.5 than with GRPO."""
    than = "with softmax at τ = 0.5 than with GRPO{size}"
    measure = ENDPOINTS[endpoint]
    about = f"{measure.text[0].upper()}{measure.text[1:]}, softmax at τ = 0.5 against GRPO"
    words = Words(about, f"{yes} {than}", f"{no} {than}")
    return Claim(name, statement, every(Contrast(HALF, LINEAR, endpoint, sign)), words, search=measure.search)


def _peak(name: str, statement: str, scheme: str, words: str) -> Claim:
    """A claim that `scheme`, called `words` in sentences, is best at τ = half the reward range."""
    first = words[0].upper() + words[1:]
    outcomes = Words(
        f"The best τ of {words}",
        f"{first} did best near half the reward range{{size}}",
        f"{first} did best away from half the reward range{{size}}",
    )
    return Claim(name, statement, peak_at_half(scheme), outcomes)


def _breaks(tau: float) -> list[Claim]:
    first = f"Softmax at τ = {tau}"
    return [
        Claim(
            f"C3a τ={tau}",
            f"Constant softmax τ={tau} ends below its own base model",
            every(Contrast(softmax(tau), BASE, "final", -1)),
            Words(
                f"{first} against its own base model",
                f"{first} left the model worse than before training{{size}}",
                f"{first} left the model better than before training{{size}}",
                f"{first} left the model as good as before training{{size}}",
            ),
        ),
        Claim(
            f"C3b τ={tau}",
            f"Constant softmax τ={tau} ends below the linear baseline",
            every(Contrast(softmax(tau), LINEAR, "final", -1)),
            worse(f"At the end of training, softmax at τ = {tau}", "GRPO"),
        ),
    ]


def _rises(ablation: dict[str, Any], against: Any = BASE, **training: Any) -> Contrast:
    # A cold start begins near 0 %. There even a small gain is learning, so it must not count as equal.
    return Contrast(ablation, against, "final", tolerant=False, training=training)


def _taught(how: str, training: dict[str, float]) -> list[Claim]:
    (form,) = training  # the only key: injection, imitation or target
    name = f"{form} {training[form]:g}"
    where = f"Where a reference answer {how}, "
    alone = Contrast(LINEAR, LINEAR, "final", tolerant=False, training=training, against_training={"imitation": 0.0})
    return [
        Claim(
            f"C12 {name}",
            f"Teacher forcing cures the cold start where a reference answer {how}: GRPO reaches 2 %, and more than "
            "imitation alone",
            cold_start(_rises(LINEAR, WARM, **training), alone),
            Words(  # without {size}, because one number cannot sum up two contrasts
                f"{where}GRPO against 2 % success and against imitation alone (two conditions, not all resolved)",
                f"{where}GRPO reached 2 % success, and more than imitation alone",
                f"{where}GRPO did not reach 2 % success, or was no better than imitation alone",
            ),
            gated=False,  # a cold start is where GRPO may not learn
        ),
        Claim(
            f"C12 {name}, softmax",
            f"Where a reference answer {how}, softmax τ=0.5 beats linear on a cold start",
            cold_start(Contrast(HALF, LINEAR, tolerant=False, training=training)),
            better(f"{where}softmax at τ = 0.5", "GRPO"),
            gated=False,  # a cold start is where GRPO may not learn
        ),
    ]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1",
        "Softmax τ=0.5 beats the linear baseline",
        every(Contrast(HALF, LINEAR)),
        better("Softmax at τ = 0.5", "GRPO"),
    ),
    Claim(
        "C1 pass@16",
        "Softmax τ=0.5 solves more puzzles in 16 answers than the linear baseline",
        every(Contrast(HALF, LINEAR, "pass@16")),
        Words(
            "Puzzles solved in 16 answers, softmax at τ = 0.5 against GRPO",
            "With 16 answers to each puzzle, softmax at τ = 0.5 solved more than GRPO{size}",
            "With 16 answers to each puzzle, softmax at τ = 0.5 solved fewer than GRPO{size}",
            "With 16 answers to each puzzle, softmax at τ = 0.5 solved as many as GRPO{size}",
        ),
    ),
    Claim(
        "C1 best rates",
        "The same with each ablation at its best learning rate",
        best_rates(HALF, LINEAR),
        better("With the best learning rate for each, softmax at τ = 0.5", "GRPO"),
    ),
    Claim(
        "C2",
        "Softmax τ=0.25 beats the linear baseline",
        every(Contrast(softmax(0.25), LINEAR)),
        better("Softmax at τ = 0.25", "GRPO"),
    ),
    *_breaks(0.75),
    *_breaks(1.0),
    *_breaks(2.0),
    Claim(
        "C3c",
        "A critical τ lies between 0.5 and 1.0: 0.5 learns, 1.0 breaks",
        every(Contrast(HALF, BASE, "final"), Contrast(softmax(1.0), BASE, "final", -1)),
        Words(
            "Softmax at τ = 0.5 and at τ = 1.0 against its base model (two conditions, not all resolved)",
            "Softmax made the model better at τ = 0.5 and worse at τ = 1.0",
            "Softmax did not make the model better at τ = 0.5, or did not make the model worse at τ = 1.0",
        ),
    ),
    Claim(
        "C4a",
        "Annealing τ 0.75→0.25 works although constant 0.75 ends below its base model",
        every(
            Contrast(anneal(0.75, 0.25), softmax(0.75)),
            Contrast(softmax(0.75), BASE, "final", -1),
        ),
        Words(
            "Softmax with τ lowered from 0.75 to 0.25 (two conditions, not all resolved)",
            "Softmax at τ = 0.75 made the model worse, and lowering τ from 0.75 to 0.25 did better",
            "Softmax at τ = 0.75 did not make the model worse, or lowering τ from 0.75 to 0.25 did no better",
        ),
    ),
    Claim(
        "C4b",
        "Annealing τ 0.75→0.25 is no better than constant 0.5",
        no_better(Contrast(anneal(0.75, 0.25), HALF)),
        Words(
            "Softmax with τ lowered from 0.75 to 0.25, against τ = 0.5",
            "Lowering τ from 0.75 to 0.25 brought no gain over keeping τ = 0.5{size}",
            "Lowering τ from 0.75 to 0.25 was better than keeping τ = 0.5{size}",
        ),
    ),
    Claim(
        "C5",
        "Annealing τ 1.0→0.3 is too slow: it is below its base model in the first half",
        every(Contrast(anneal(1.0, 0.3), BASE, "first_half", -1)),
        Words(
            "Softmax with τ lowered from 1.0 to 0.3, against its base model in the first half of training",
            "With τ lowered from 1.0 to 0.3, the model was worse in the first half than before training{size}",
            "With τ lowered from 1.0 to 0.3, the model was better in the first half than before training{size}",
            "With τ lowered from 1.0 to 0.3, the model was as good in the first half as before training{size}",
        ),
    ),
    _peak("C6a", "The best softmax τ is half the reward range", "softmax", "softmax"),
    _peak(
        "C6b",
        "The best centered-softmax τ is half the reward range",
        "softmax_centered",
        "softmax without the push on every answer",
    ),
    _habit(
        "C7",
        "Entropy falls earlier with softmax τ=0.5 than with linear",
        "entropy_early",
        -1,
        "Early in training, the model was surer of its answers (lower entropy)",
        "Early in training, the model was less sure of its answers (higher entropy)",
    ),
    _habit(
        "C8a",
        "Answers are shorter early with softmax τ=0.5 than with linear",
        "length_early",
        -1,
        "Answers were shorter early in training",
        "Answers were longer early in training",
    ),
    _habit(
        "C8b",
        "Answers are longer in the last fifth with softmax τ=0.5 than with linear",
        "length_late",
        +1,
        "Answers were longer late in training",
        "Answers were shorter late in training",
    ),
    _habit(
        "C9",
        "The gradient norm before clipping is higher early with softmax τ=0.5 than with linear",
        "grad_norm_early",
        +1,
        "Gradients were larger early in training",
        "Gradients were smaller early in training",
    ),
    _habit(
        "C10a",
        "Softmax τ=0.5 explores: it tries more equations per answer than linear",
        "attempts",
        +1,
        "The model tried more equations per answer",
        "The model tried fewer equations per answer",
    ),
    replace(
        _habit(
            "C10b",
            "Softmax τ=0.5 explores: it checks itself more often than linear",
            "self_checks",
            +1,
            "The model checked itself more often",
            "The model checked itself less often",
        ),
        rule=own_count("attempts", Contrast(HALF, LINEAR, "self_checks")),
    ),
    _habit(
        "C10c",
        "Where it is wrong, softmax τ=0.5 admits defeat more often than linear",
        "gave_up",
        +1,
        "When it was wrong, the model admitted defeat more often",
        "When it was wrong, the model admitted defeat less often",
    ),
    Claim(
        "C11",
        "Softmax lets a model too small for GRPO learn",
        cold_start(_rises(HALF)),
        Words(
            "Softmax at τ = 0.5 against a base model that finds almost no right answer",
            "Softmax at τ = 0.5 improved a base model that finds almost no right answer{size}",
            "Softmax at τ = 0.5 harmed a base model that finds almost no right answer{size}",
        ),
        gated=False,  # a cold start is where GRPO may not learn
    ),
    *_taught("is injected as a right answer", {"injection": 1.0}),
    *_taught("is injected with the highest reward", {"injection": 1.1}),
    *_taught("is imitated beside the policy gradient", {"imitation": 1.0}),
    *_taught("is a target for what the policy writes", {"target": 0.01}),
)
