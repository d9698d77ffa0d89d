"""The learning rate of a step: a linear warm-up, then a constant rate or a decay to 0."""

import math

from softmax_rewards.config.run import Training


def learning_rate(settings: Training, step: int) -> float:
    """The learning rate of step number `step`, from 0. All updates of the step's batch have it.

    These are the schedules `constant_with_warmup`, `linear` and `cosine` of transformers, which TRL and verl use too.
    The first step of a warm-up has the rate 0. A decay reaches 0 one step after the last one.
    """
    # A function of the step alone, so a resumed run needs no state of a scheduler.
    warmup = settings.lr_warmup_steps
    if step < warmup:
        return settings.learning_rate * (step / warmup)
    progress = (step - warmup) / (settings.steps - warmup)
    share = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return settings.learning_rate * share[settings.lr_decay]
