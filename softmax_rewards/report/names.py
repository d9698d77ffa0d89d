"""What readers call schemes, ablations and their settings. Files and configurations have slugs, pages have these names.

An ablation's name comes from its weighting and its setting, as summary/ablations.csv has them. Where no such table is
at hand, it comes from the slug, whose usual form is "<scheme>-<τ>-<setting>".
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

SCHEMES = {
    "linear": "GRPO (z-score)",
    "softmax": "softmax",
    "softmax_centered": "centered softmax",
    "dr_grpo": "Dr. GRPO",
    "raft": "RAFT",
    "maxrl": "MaxRL",
    "shrunk": "shrunk",
    "rloo": "RLOO",
    "batch_std": "GRPO, the batch's σ",
    "linear_plus_one": "GRPO plus one",
    "softmax_ess": "fixed-ESS softmax",
    "softmax_masked": "masked softmax",
    "softmax_matched": "matched softmax",
    "softmax_scaled": "scaled softmax",
    "softmax_z": "softmax of z-scores",
    "passk": "pass@k",
    "best_of_n": "best of N",
    "normal_scores_softmax": "softmax of normal scores",
    "reinforce_rej": "Reinforce-Rej",
    "uniform": "the constant 1",
}
"""Scheme → its name, in the order of figures. Other schemes come last, and are called as their files, with spaces."""

SLUGS = {
    "centered": "softmax_centered",
    "masked": "softmax_masked",
    "matched": "softmax_matched",
    "scaled": "softmax_scaled",
    "ess": "softmax_ess",
}
"""How slugs of ablations shorten a scheme."""


def rank(name: str) -> int:
    """Where a scheme stands in the order of figures."""
    return [*SCHEMES].index(name) if name in SCHEMES else len(SCHEMES)


def rate(value: float) -> str:
    """A learning rate: 0.0016 → "1.6e-3"."""
    mantissa, exponent = f"{float(value):.1e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


_AGGREGATIONS = {"seq-mean": "loss averaged by answer", "constant": "loss divided by a constant"}
_SETTINGS: dict[str, Callable[[str], str]] = {
    "learning_rate": lambda value: f"rate {rate(float(value))}",
    "skip_unfinished": lambda _: "cut answers left out",
    "skip_equal": lambda _: "equal groups left out",
    "max_num_gen_batches": lambda _: "equal groups replaced",
    "group_size": lambda value: f"groups of {value}",
    "updates_per_batch": lambda value: f"{value} updates per batch",
    "max_new_tokens": lambda value: f"{value} tokens",
    "kl_coef": lambda value: f"KL {value}",
    "entropy_coef": lambda value: f"entropy bonus {value}",
    "hidden_budget": lambda value: f"hidden budget {value}",
    "loss_aggregation": lambda value: _AGGREGATIONS.get(value, value),
}


class Ablation(NamedTuple):
    """An ablation in words.

    tau      its temperature, "0.5"; a schedule is "0.75→0.25"; empty for a scheme without a temperature
    setting  what differs from the baseline's training, "rate 1e-4"; empty if nothing does
    """

    scheme: str
    tau: str = ""
    setting: str = ""

    @property
    def weights(self) -> str:
        """Scheme and temperature: "centered softmax τ = 0.5"."""
        return " ".join(filter(None, (scheme(self.scheme), temperature(self.tau))))

    @property
    def label(self) -> str:
        """The whole name: "GRPO (z-score), cut answers left out"."""
        return ", ".join(filter(None, (self.weights, self.setting)))

    @property
    def annealed(self) -> bool:
        """Whether τ follows a schedule."""
        return "→" in self.tau


def scheme(name: str) -> str:
    """A scheme's name."""
    return SCHEMES.get(name, name.replace("_", " "))


def temperature(tau: str | float) -> str:
    """A temperature: "τ = 0.5", "τ 0.75 → 0.25"; empty if there is none."""
    if tau == "" or tau != tau:
        return ""
    first, arrow, last = str(tau).partition("→")
    if arrow:
        return f"τ {_short(first)} → {_short(last)}"
    return f"τ = {_short(first)}"


def _short(number: str) -> str:
    """ "1.0" → "1"; other words, such as "auto", as they are."""
    return f"{float(number):g}" if re.fullmatch(r"[\d.]+", number) else number


def setting(changes: str) -> str:
    """Changed settings, as ablations.csv has them: "learning_rate 0.0001, skip_equal True" → "rate 1e-4, equal …"."""
    pairs = [change.partition(" ")[::2] for change in re.split(r", (?=[a-z_]+ )", changes) if change]
    if any(key == "group_size" for key, _ in pairs):  # then the number of prompts only keeps the number of answers
        pairs = [(key, value) for key, value in pairs if key != "prompts_per_step"]
    return ", ".join(_SETTINGS[key](value) if key in _SETTINGS else _plain(key, value) for key, value in pairs)


def _plain(key: str, value: str) -> str:
    words = key.replace("_", " ")
    return words if value == "True" else f"{words} {value}"


def described(slugs: Iterable[str], ablations: pd.DataFrame | None = None) -> dict[str, Ablation]:
    """Slug → ablation, in the order of `slugs`, all different.

    `ablations`: ablation, weighting, setting and, if there are several, condition (ablations.csv)
    """
    known: dict[str, Ablation] = {}
    where: dict[str, str] = {}
    if ablations is not None:
        table = ablations.reindex(columns=["ablation", "weighting", "setting", "condition"]).astype(object).fillna("")
        for slug, weighting, changes, condition in table.itertuples(index=False):
            known[slug] = of_weighting(weighting)._replace(setting=setting(changes))
            where[slug] = condition
    found = {slug: known.get(slug) or _by_slug(slug) for slug in dict.fromkeys(slugs)}
    shared = Counter(found.values())
    within = Counter((ablation, where.get(slug)) for slug, ablation in found.items())

    def distinct(slug: str, ablation: Ablation) -> Ablation:
        if shared[ablation] == 1:
            return ablation
        if within[ablation, where.get(slug)] == 1:
            return ablation._replace(setting=", ".join(filter(None, (ablation.setting, where[slug]))))
        # The table does not say in which shape τ falls. The slug does.
        return ablation._replace(setting=_by_slug(slug).setting)

    return {slug: distinct(slug, ablation) for slug, ablation in found.items()}


def labeled(frame: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """`frame` whose columns `ablation` and `against`, where it has them, have names instead of slugs.

    `ablations`: as for `described`. All its ablations have different names, so those of several tables agree.
    """
    columns = [column for column in ("ablation", "against") if column in frame]
    shown = {slug: ablation.label for slug, ablation in described(ablations["ablation"], ablations).items()}
    return frame.assign(**{column: frame[column].map(shown) for column in columns})


def of_weighting(weighting: str) -> Ablation:
    """From the words of `verdicts.evidence.label`: "softmax centered τ=0.5", "softmax τ 0.75→0.25", "dr grpo"."""
    words, _, tau = weighting.partition(" τ")
    return Ablation(words.replace(" ", "_"), tau.strip("= "))


def conditions(frame: pd.DataFrame) -> pd.Series:
    """The condition of each row; empty if the experiment has only one. A table read by pandas has NaN there."""
    return frame["condition"].astype(object).fillna("")


def place(experiment: str, condition: str) -> str:
    """An experiment with its condition, if it has one: "countdown-mini (trap)"."""
    return f"{experiment} ({condition})" if condition else experiment


def of_setting(name: str, hyperparameters: str | float) -> Ablation:
    """From a scheme and the words of `weighting.study.settings.label`: "tau = 0.5"; missing or empty for none."""
    words = "" if isinstance(hyperparameters, float) else hyperparameters
    if match := re.fullmatch(r"(?:tau|temperature) = ([\d.]+)", words):
        return Ablation(name, match[1])
    return Ablation(name, "", words)


def _by_slug(slug: str) -> Ablation:
    if match := re.fullmatch(r"anneal-([\d.]+)-([\d.]+)(?:-(.+))?", slug):
        return Ablation("softmax", f"{match[1]}→{match[2]}", match[3] or "")
    prefixes = {name.replace("_", "-"): name for name in SCHEMES} | SLUGS
    for prefix in sorted(prefixes, key=len, reverse=True):
        if match := re.fullmatch(rf"{prefix}(?:-(\d[\d.]*))?(?:-(.+))?", slug):
            return Ablation(prefixes[prefix], match[1] or "", (match[2] or "").replace("-", " "))
    return Ablation(slug)
