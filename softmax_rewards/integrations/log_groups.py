"""The groups of a log: which samples belong together, and which groups count."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softmax_rewards.integrations import trainer_state
from softmax_rewards.integrations.log_samples import Samples, combined
from softmax_rewards.weighting.study.answer_lengths import Answers
from softmax_rewards.weighting.study.populations import Population

AFFINE = 1 - 1e-3  # from this correlation within a group on, advantages agree with rewards; both are float32


@dataclass(frozen=True)
class Groups:
    """Samples whose groups lie side by side. `sizes` [G] has the number of samples of each group."""

    samples: Samples
    sizes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The place of each group's first sample, [G]."""
        return np.cumsum(self.sizes) - self.sizes

    def where(self, keep: np.ndarray) -> "Groups":
        """The groups for which `keep` [G] is true."""
        return Groups(self.samples.take(np.repeat(keep, self.sizes)), self.sizes[keep])

    def rows(self, size: int) -> np.ndarray:
        """The places of the samples of all groups of one size, [groups, size]."""
        return self.starts[self.sizes == size][:, None] + np.arange(size)


def of_blocks(samples: Samples) -> Groups:
    """TRL: a group is a block of consecutive samples of one file, step and prompt. Samples without reward are no part.

    The log does not name groups. So a prompt that was drawn twice gives two groups, unless the draws are neighbors.
    """
    changes = np.zeros(len(samples.file), dtype=bool)
    for column in (samples.file, samples.step, samples.group):
        changes[1:] |= column[1:] != column[:-1]
    scored = ~np.isnan(samples.reward)
    sizes = np.bincount(np.cumsum(changes), scored).astype(int)
    return Groups(samples.take(scored), sizes[sizes > 0])


def of_names(samples: Samples) -> Groups:
    """Plain and verl: a group is a name within a file and step, with samples anywhere."""
    names = combined(samples.file, samples.step, samples.group)
    _, first = np.unique(names, return_index=True)
    place = first[names]  # groups in the order of their first samples
    order = np.argsort(place, kind="stable")
    return Groups(samples.take(order), np.unique(place, return_counts=True)[1])


def once(groups: Groups, path: Path, notes: list[str]) -> tuple[Groups, int]:
    """TRL: the groups of training, each once, and how many were written again at a later step.

    TRL keeps one buffer of answers for training and evaluation. With several updates per batch it writes the same
    answers at several steps. After an evaluation the buffer holds answers to held-out prompts. So a group counts where
    it is first written, and not at all if that is a step of an evaluation.
    """
    names, answers = groups.samples.group[groups.starts], groups.samples.answer
    spans = zip(names.tolist(), groups.starts.tolist(), groups.sizes.tolist(), strict=True)
    # Equal completions in the same order are the same samples.
    first: dict[tuple[int, bytes], int] = {}
    for place, (name, start, size) in enumerate(spans):
        first.setdefault((name, answers[start : start + size].tobytes()), place)
    keep = np.zeros(len(groups.sizes), dtype=bool)
    keep[list(first.values())] = True
    repeated = len(keep) - len(first)
    steps = groups.samples.step[groups.starts]
    evaluated = keep & np.isin(steps, _evaluations(path, float(steps.max()), notes))
    if evaluated.any():
        listed = np.unique(steps[evaluated])
        notes.append(
            f"Groups of evaluations, left out: {evaluated.sum()}, first written at step {listed[0]:g}"
            + (f" to {listed[-1]:g}." if len(listed) > 1 else ".")
        )
    return groups.where(keep & ~evaluated), repeated


def _evaluations(path: Path, last_step: float, notes: list[str]) -> list[float]:
    """The steps at which TRL evaluated. `notes` gets a line about what is not known of them."""
    # TRL writes <output_dir>/completions/completions_<step>.parquet and <output_dir>/trainer_state.json.
    folder = path if path.is_dir() else path.parent
    state = None
    for place in (folder, folder.resolve().parent):
        try:
            state = state or trainer_state.last(place, notes)
        except ValueError as error:
            notes.append(f"{error}.")
    counted = "TRL writes answers of evaluations like those of training, so any that are there are counted."
    if state is None:
        notes.append(f"No trainer_state.json says at which steps TRL evaluated. {counted}")
        return []
    if state.step < last_step:
        notes.append(f"{state.file} ends at step {state.step} and knows no later evaluations. {counted}")
    return [step for step in state.evaluations() if isinstance(step, int | float)]


def check_advantages(groups: Groups, path: Path, columns: list[str], notes: list[str]) -> None:
    """Raise ValueError if advantages are not an increasing affine function of the rewards within every group."""
    if groups.samples.advantage is None:
        notes.append("The log has no advantages, with which the sum of the reward functions could be compared.")
        return
    # TRL subtracts the group's mean and may divide by a spread. A group of another size than usual has lost unscored
    # samples or consists of two draws of a prompt, so its rewards and advantages need not agree.
    usual = groups.rows(Counter(groups.sizes.tolist()).most_common(1)[0][0])
    rewards, advantages = groups.samples.reward[usual], groups.samples.advantage[usual]
    apart = [values - values.mean(axis=1, keepdims=True) for values in (rewards, advantages)]
    spread = AFFINE * rewards.std(axis=1) * advantages.std(axis=1)
    agree = (np.mean(apart[0] * apart[1], axis=1) >= spread) & (spread > 0)
    level = (np.ptp(rewards, axis=1) == 0) & (np.ptp(advantages, axis=1) < 1e-3)
    if not np.all(agree | level):
        raise ValueError(
            f"{path}: the sum of {', '.join(columns)} does not give the advantages; allowed: --reward with "
            "the reward functions and their weights, such as --reward accuracy,format=0.1"
        )


# ---- by size ------------------------------------------------------------------------------------


def populations(groups: Groups, right: np.ndarray) -> Iterator[tuple[int, Population]]:
    """Group size, from 2 on, and the distinct groups of this size with counts. `right` [n] says which samples are."""
    for size in _sizes(groups):
        rows = groups.rows(size)
        rewards, correct = groups.samples.reward[rows], right[rows]
        # Sorted, so that groups that differ only in the order of their samples count as equal.
        order = np.lexsort([correct, rewards], axis=1)[:, ::-1]
        pairs = np.stack([np.take_along_axis(part, order, axis=1) for part in (rewards, correct)], axis=-1)
        distinct, counts = np.unique(pairs, axis=0, return_counts=True)
        yield size, Population(distinct[..., 0], distinct[..., 1] > 0, counts)


def answers(groups: Groups, right: np.ndarray) -> Iterator[tuple[int, Answers]]:
    """Group size, from 2 on, and reward, verdict and length of all answers in groups of this size."""
    samples = groups.samples
    if samples.length is None:
        return
    for size in _sizes(groups):
        rows = groups.rows(size).ravel()
        yield size, Answers(samples.reward[rows], right[rows], samples.length[rows])


def _sizes(groups: Groups) -> list[int]:
    return sorted(set(groups.sizes.tolist()) - {1})
