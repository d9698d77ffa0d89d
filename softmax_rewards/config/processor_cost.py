"""What an experiment costs on this machine's processor: core-hours and memory, from the measured cost of one step.

`cost.py` estimates an H100 from shapes. Nobody knows a processor so well, so `training/trial.py` measures it: a model
of the experiment's shape with random weights decodes and learns for a few seconds. This module only multiplies.

The base model's answers are taken to be as long as the traces that it imitates. In training they become `GROWTH` times
as long, or `CUT` times `max_new_tokens` if that is less. Without traces they have `max_new_tokens` tokens. Every answer
is taken to be trained; schemes that give most answers the weight 0 take less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from softmax_rewards.config import base_settings, cost
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.run import Run, canonical
from softmax_rewards.models.shape import Shape

LARGEST = 500_000_000
"""Parameters of the largest model that is tried out. Larger ones are not trained on processors."""

GROWTH, CUT = 1.6, 0.75
"""Mean length of answers over a training, seen in a pilot of `countdown-mini` with 60 runs: with `max_new_tokens` 256
it was 63 tokens, 1.6 times that of the traces. With 64 it was 45 tokens."""


@dataclass(frozen=True)
class Speed:
    """What a step costs here, measured. Seconds are those of one core."""

    start: float  # seconds until Python, PyTorch and a model are ready
    answer_tokens: float  # tokens of one trace, or `max_new_tokens` without traces
    rollout: float  # seconds per decoded token, in a batch of many rows
    position: float  # seconds per decoded position, in a batch of few rows
    update: float  # seconds per token in one update
    memory: int  # peak bytes of the process


def wanted(experiment: Experiment) -> bool:
    """Whether the experiment can be tried out on a processor: its model's shape is known, and small enough."""
    if all(run.training.device == "cuda" for run in experiment.runs()):
        return False
    shape = _shape(experiment)
    return experiment.model["source"] == "mini" or (shape is not None and shape.parameters <= LARGEST)


def _shape(experiment: Experiment) -> Shape | None:
    try:
        return cost.shape_of(experiment.model)
    except ValueError:  # a missing local model, which the other estimate reports
        return None


def run_seconds(run: Run, speed: Speed) -> float:
    """Core-seconds of one run: its start, its steps, the evaluations while training, and the final one."""
    training, evaluation = run.training, run.evaluation
    longest = training.max_new_tokens
    likely = min(GROWTH * speed.answer_tokens, CUT * longest)
    length = likely if speed.answer_tokens < longest else longest

    def sampled(answers: float) -> float:
        # At the end of each batch of rows, only few long answers are left.
        batches = max(answers / training.rollout_batch_size, 1)
        return answers * length * speed.rollout + batches * (longest - length) * speed.position

    answers = training.prompts_per_step * training.group_size
    steps = sampled(answers) * training.max_num_gen_batches
    steps += answers * length * training.updates_per_batch * speed.update
    curve = cost.curve_points(training, evaluation) * sampled(evaluation.puzzles)
    # The final evaluation has sampled answers, greedy answers, and those of pass@k.
    final = sampled(evaluation.final_samples * evaluation.puzzles) + sampled(evaluation.pass_puzzles)
    passes = cost.pass_points(training, evaluation) * sampled(evaluation.pass_puzzles * evaluation.pass_samples)
    return speed.start + training.steps * steps + curve + final + passes


def base_seconds(runs: Sequence[Run], speed: Speed) -> float:
    """Core-seconds of making and evaluating the base models of `runs`: their starts, warm starts and answers."""
    models = {canonical({"model": run.model, "task": run.task}): run.model["warm_start"] for run in runs}
    evaluations = {canonical(settings): settings for settings in map(base_settings.of, runs)}
    learned = sum(warm_start["steps"] * warm_start["traces"] for warm_start in models.values())
    decoded = sum(each["puzzles"] * (each["samples"] + 1) for each in evaluations.values())  # and the greedy answer
    started = (len(models) + len(evaluations)) * speed.start
    return started + speed.answer_tokens * (learned * speed.update + decoded * speed.rollout)


def estimate(experiment: Experiment, speed: Speed, cores: int) -> str:
    """One line on all runs of an experiment; `cores` is how many cores the workflow may use."""
    each = [run_seconds(run, speed) for run in experiment.runs()]
    base = base_seconds(experiment.runs(), speed)
    total = sum(each) + base
    bases = "base model" if experiment.bases == 1 else f"{experiment.bases} base models"
    memory = speed.memory
    if shape := _shape(experiment):  # of a large model less than a whole step was tried
        peaks = (cost.memory(shape, run.training, run.evaluation).peak for run in experiment.runs())
        memory = max(memory, *peaks)
    return (
        f"{experiment.name}: {len(each)} runs, each about {_hours(max(each))} core-hours on this machine's processor "
        f"(one step was measured), {bases} {_hours(base)}; {_hours(total)} core-hours in all, "
        f"with {cores} core{'s' * (cores > 1)} {_duration(total / cores)}; memory of a run {memory / 1e9:.1f} GB"
    )


def _hours(seconds: float) -> str:
    return cost.two_digits(seconds / 3600)


def _duration(seconds: float) -> str:
    return f"{_hours(seconds)} hours" if seconds >= 5400 else f"{max(round(seconds / 60), 1)} minutes"
