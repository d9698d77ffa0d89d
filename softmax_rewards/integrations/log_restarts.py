"""Runs that were stopped and resumed: where a log has something twice, the later writing counts.

A *part* of a log is a stretch in which the step does not go back. A run that is resumed from a checkpoint writes some
steps again, so its log has two parts that overlap. From the first step of the second part on, the first part comes from
weights that were given up.
"""

import math

import numpy as np

from softmax_rewards.integrations.log_samples import NO_STEP, Samples, combined


def latest(samples: Samples, layout: str, notes: list[str]) -> Samples:
    """The samples without those that a resumed run replaced. `notes` gets a line about them.

    TRL and verl write one file per step. So a step is written again if a later part has it, in any file. Of files that
    overlap, the one that gets further counts. A plain log may consist of the files of several workers. There a group is
    written again if a later part of its own file has it.
    """
    plain = layout == "plain"
    if plain:
        _mention_shared_steps(samples, notes)
    else:
        samples = samples.take(_by_progress(samples.file, samples.step))
    part = _parts(samples, plain)
    # If most parts have a single sample of a group, the rows of the log are in no order.
    if not part[-1] or np.bincount(np.bincount(combined(part, samples.step, samples.group))).argmax() < 2:
        return samples
    keep = samples.step < _limits(samples, part, _again(samples, part, plain), plain)[part]
    keep |= samples.step == NO_STEP
    if not keep.all():
        low, high = (pick(samples.step[~keep]) for pick in (np.min, np.max))
        notes.append(
            f"The run was resumed, and the log has steps {low:g} to {high:g} twice: the later samples count, "
            f"{np.count_nonzero(~keep)} earlier ones are left out."
        )
    return samples.take(keep)


def _by_progress(file: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The rows, file by file, the file with the highest step last."""
    starts = np.flatnonzero(np.diff(file, prepend=-1))
    ends = [*starts[1:], len(file)]
    spans = [(step[i:j].max(), step[i:j].min(), i, j) for i, j in zip(starts, ends, strict=True)]
    return np.concatenate([np.arange(i, j) for _, _, i, j in sorted(spans)])


def _parts(samples: Samples, plain: bool) -> np.ndarray:
    """The number of each sample's part, from 0 on."""
    file, step = samples.file, samples.step
    other_file = file[1:] != file[:-1]
    begins = (step[1:] < step[:-1]) | other_file & (plain | (step[1:] == step[:-1]))
    return np.concatenate([[0], np.cumsum(begins)])


def _again(samples: Samples, part: np.ndarray, plain: bool) -> np.ndarray:
    """Whether each part has something that an earlier part has too."""
    names = combined(samples.file, samples.step, samples.group) if plain else samples.step
    _, first, name = np.unique(names, return_index=True, return_inverse=True)
    repeated = (part[first][name] < part) & (samples.step != NO_STEP)
    return np.bincount(part, repeated) > 0


def _limits(samples: Samples, part: np.ndarray, again: np.ndarray, plain: bool) -> np.ndarray:
    """The step at which each part ends, because a later part begins there."""
    begins = np.flatnonzero(np.diff(part, prepend=-1))
    file, step = samples.file[begins], samples.step[begins]
    limits, limit = np.full(len(begins), math.inf), math.inf
    for number in range(len(begins) - 1, -1, -1):
        limits[number] = limit
        if again[number]:
            limit = min(limit, float(step[number]))
        if plain and number and file[number] != file[number - 1]:
            limit = math.inf
    return limits


def _mention_shared_steps(samples: Samples, notes: list[str]) -> None:
    _, first = np.unique(combined(samples.step, samples.file), return_index=True)
    steps, counts = np.unique(samples.step[first], return_counts=True)
    shared = steps[(counts > 1) & (steps != NO_STEP)]
    if len(shared):
        notes.append(f"Several files have steps {shared[0]:g} to {shared[-1]:g}: the groups of every file are counted.")
