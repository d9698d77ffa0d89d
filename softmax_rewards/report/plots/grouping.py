"""Which ablations share a panel: those of one family and with the same seeds, few enough to be told apart."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

from softmax_rewards.report import names
from softmax_rewards.report.names import Ablation
from softmax_rewards.report.plots.style import MOST_LINES

FAMILIES = ("softmax", "softmax_centered", "annealed")
FEWEST = 3  # members for which a family gets panels of its own; smaller ones share some
OTHERS = "other"


class Group(NamedTuple):
    """The ablations of one panel, all with the seeds `seeds`. `shared`: whether the title has their scheme."""

    title: str
    ablations: list[str]
    seeds: frozenset
    shared: bool = False


def groups(frame: pd.DataFrame, described: Mapping[str, Ablation], baseline: str) -> list[Group]:
    """The panels of the ablations in `frame` (ablation, seed), each to be drawn with the baseline.

    Only seeds that the baseline has count. If all ablations fit into one panel, it has no title.
    """
    seeds = {slug: frozenset(rows) for slug, rows in frame.groupby("ablation")["seed"]}
    known = seeds.get(baseline) or frozenset().union(*seeds.values())
    shared = {slug: seeds[slug] & known for slug in seeds if slug != baseline and seeds[slug] & known}
    several = len(set(shared.values())) > 1
    if not several and len(shared) < MOST_LINES:
        return [Group("", ordered(shared, described), next(iter(shared.values()), known))]
    members = _members(shared, described)
    alone = {family for family, _ in members} == {OTHERS}
    made = []
    for (family, group_seeds), slugs in members.items():
        parts = list(_even(slugs, MOST_LINES - 1))
        for number, part in enumerate(parts, 1):
            title = _title(family, part, described, f" ({number} of {len(parts)})" if len(parts) > 1 else "")
            title = title.removeprefix("other ") if alone else title
            count = len(group_seeds)
            note = f", {count} seed{'s' if count > 1 else ''}" if several else ""
            made.append(Group(title + note, part, group_seeds, family != OTHERS))
    return made


def _members(
    shared: Mapping[str, frozenset], described: Mapping[str, Ablation]
) -> dict[tuple[str, frozenset], list[str]]:
    """(family, seeds) → its ablations, families in their order, many seeds first. `shared`: ablation → its seeds."""
    members: dict[tuple[str, frozenset], list[str]] = {}
    for slug in ordered(shared, described):
        members.setdefault((_family(described[slug]), shared[slug]), []).append(slug)
    small = [slug for slugs in members.values() if len(slugs) < FEWEST for slug in slugs]
    merged: dict[tuple[str, frozenset], list[str]] = {}
    for (family, seeds), slugs in members.items():
        for slug in slugs:
            merged.setdefault((OTHERS if slug in small else family, seeds), []).append(slug)
    order = [*FAMILIES, OTHERS]
    return dict(sorted(merged.items(), key=lambda item: (order.index(item[0][0]), -len(item[0][1]))))


def ordered(slugs: Iterable[str], described: Mapping[str, Ablation]) -> list[str]:
    """`slugs` by family, then scheme, then temperature, then setting."""

    def key(slug: str) -> tuple:
        ablation = described[slug]
        family = _family(ablation)
        place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
        return (
            place,
            names.rank(ablation.scheme),
            ablation.scheme,
            in_order(ablation.tau),
            in_order(ablation.setting),
            slug,
        )

    return sorted(slugs, key=key)


def short(slug: str, group: Group, described: Mapping[str, Ablation]) -> str:
    """An ablation's name beside its line: without the scheme, if that stands in the title of the panel."""
    ablation = described[slug]
    if not group.shared or slug not in group.ablations:
        return ablation.label
    name = names.temperature(ablation.tau) or ablation.weights
    return ", ".join(filter(None, (name, ablation.setting)))


def split(frame: pd.DataFrame, made: Iterable[Group], baseline: str) -> pd.DataFrame:
    """The rows of each group and of the baseline, with equal seeds, under the group's title in the column `panel`."""
    return pd.concat(
        frame[frame["ablation"].isin([baseline, *group.ablations]) & frame["seed"].isin(group.seeds)].assign(
            panel=group.title
        )
        for group in made
    )


def _family(ablation: Ablation) -> str:
    if ablation.annealed:
        return "annealed"
    return ablation.scheme if ablation.scheme in FAMILIES and ablation.tau else OTHERS


def _title(family: str, slugs: list[str], described: Mapping[str, Ablation], part: str) -> str:
    if family == OTHERS:
        return f"other schemes{part}" if len(slugs) > 1 else described[slugs[0]].label
    name = "softmax, τ falls" if family == "annealed" else names.scheme(family)
    taus = [described[slug].tau for slug in slugs]
    if part and len(set(taus)) > 1 and family != "annealed":
        return f"{name}, {names.temperature(taus[0])} to {names.temperature(taus[-1]).removeprefix('τ = ')}"
    return name + part


def _even(slugs: list[str], most: int) -> Iterable[list[str]]:
    """`slugs` in parts of nearly equal size, none above `most`."""
    count = -(-len(slugs) // most)
    for i in range(count):
        yield slugs[i * len(slugs) // count : (i + 1) * len(slugs) // count]


def in_order(text: str) -> tuple[str, list[float]]:
    """A key that sorts texts by their words, and equal words by their numbers: "rate 5e-5" before "rate 1e-4"."""
    number = r"\d+(?:\.\d+)?(?:e-?\d+)?"
    return re.sub(number, "", text), [float(found) for found in re.findall(number, text)]
