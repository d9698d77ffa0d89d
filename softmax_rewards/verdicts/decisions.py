"""What to use, case by case: the table of docs/what-should-i-use.md, which `softmax-rewards advise` reads as well.

Each case names the comparisons that speak for it. Their numbers are computed from the archive and kept in
`evidence.json`, so that an installed package has them too. A case without evidence has no advice.
"""

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from softmax_rewards.common import generated_section
from softmax_rewards.verdicts.wording import signed

PAGE = "docs/what-should-i-use.md"
NUMBERS = "softmax_rewards/verdicts/evidence.json"
BEGIN, END = "<!-- decisions: generated, see `softmax-rewards generate-docs` -->", "<!-- end of decisions -->"
RARE = 0.2  # share of right answers up to which they count as rare
EXAMPLE, WIDTH = (0.08, True, True, 8), 110  # the log of the page's example, and how wide `advise` prints
MODEL = "the embedded model of 0.2 million parameters"


class Compared(NamedTuple):
    """A comparison of two ablations of an archived experiment."""

    experiment: str
    ablation: str
    against: str = "baseline"
    endpoint: str = "auc"


class Numbers(NamedTuple):
    """Difference in points, its 95 % limits, and how many units they are over, and which: "seeds" or "base models"."""

    difference: float
    low: float
    high: float
    units: int
    unit: str = "seeds"


@dataclass(frozen=True)
class Case:
    """A situation, and what did best in it.

    rare    whether right answers are rare; None: both
    costly  whether long answers lose the format, for example because a limit cuts them; None: both
    paid    whether the format has a reward of its own; None: both
    sizes   smallest and largest group
    wanted  "pass@1" or "pass@16"
    """

    rare: bool | None
    costly: bool | None
    paid: bool | None
    sizes: tuple[int, int]
    updates: str
    wanted: str
    use: str
    evidence: tuple[Compared, ...] = ()

    def fits(self, success: float, costly: bool | None, paid: bool, size: int) -> bool:
        """Whether a log is such a case. `costly` is None for a log without lengths, and then fits both."""
        return (
            self.rare in (None, success <= RARE)
            and (costly is None or self.costly in (None, costly))
            and self.paid in (None, paid)
            and self.sizes[0] <= size <= self.sizes[1]
        )


TRAP, ROOM, UNPAID = "countdown-mini-trap", "countdown-mini-trap-room", "countdown-mini-trap-unpaid"
HIDDEN, TAU, BASES = "countdown-mini-trap-hidden", "countdown-mini-tau", "countdown-mini-bases"
HORIZON, SLIPS, OLD = "countdown-mini-horizon", "countdown-mini-slips", "countdown-mini-off-policy"
TAU_UNPAID, PRODUCTS = "countdown-mini-tau-unpaid", "multiplication-mini-96"
CASES: tuple[Case, ...] = (
    Case(
        True, True, True, (8, 8), "100", "pass@1",
        "A scheme that does not divide by the group's σ: dr_grpo, shrunk, softmax_centered, raft, maxrl",
        tuple(Compared(TRAP, name) for name in ("dr-grpo", "shrunk", "centered-0.5", "raft", "maxrl")),
    ),
    Case(
        True, True, True, (8, 8), "100", "pass@1",
        "To keep GRPO: leave cut answers out of the loss, or divide by the batch's σ (batch_std)",
        (Compared(TRAP, "linear-skip-unfinished"), Compared(TRAP, "batch-std")),
    ),
    Case(
        True, True, True, (8, 8), "60", "pass@1",
        "The same over eight base models: softmax_centered, shrunk or dr_grpo",
        tuple(Compared(BASES, name) for name in ("centered-0.5", "shrunk", "dr-grpo", "softmax-0.25", "softmax-0.5")),
    ),
    Case(
        True, True, True, (8, 8), "60", "pass@1",
        "Of the temperatures: any for softmax_centered; for softmax at most half of the range",
        tuple(
            Compared(TAU, f"{scheme}-{tau}")
            for scheme, taus in (("centered", ("0.1", "0.5", "2.0", "10.0")), ("softmax", ("0.1", "0.5", "1.0", "2.0")))
            for tau in taus
        ),
    ),
    Case(
        True, True, True, (8, 8), "40", "pass@1",
        "Where long answers lose the format and no limit cuts them: raft or maxrl",
        (*(Compared(HIDDEN, name, endpoint="final") for name in ("raft", "maxrl", "centered-0.5", "dr-grpo")),
         Compared(HIDDEN, "raft", "centered-0.5")),
    ),
    Case(
        True, True, True, (8, 8), "100", "pass@16",
        "softmax_centered at half of the range",
        (Compared(TRAP, "centered-0.5", endpoint="pass@16"),),
    ),
    Case(
        True, True, True, (8, 8), "400", "pass@1",
        "For long: shrunk, dr_grpo, softmax_centered or raft",
        (*(Compared(HORIZON, name, endpoint="final") for name in ("shrunk", "centered-0.5", "dr-grpo", "raft")),
         *(Compared(HORIZON, name, endpoint="final") for name in ("softmax-0.25", "softmax-0.5"))),
    ),
    Case(
        True, True, True, (8, 8), "400", "pass@16",
        "For long: softmax_centered, softmax at a quarter of the range, or maxrl; raft covers less, and linear narrows",
        (*(Compared(HORIZON, name, endpoint="pass@16") for name in ("centered-0.5", "softmax-0.25", "maxrl", "raft")),
         Compared(HORIZON, "centered-0.5", "raft", "pass@16")),
    ),
    Case(
        True, True, True, (8, 8), "60 × 4", "pass@1",
        "With four updates per batch: softmax at half of the range, with its constant",
        (*(Compared(OLD, name, "baseline-four") for name in ("softmax-0.5-four", "centered-0.5-four")),
         Compared(OLD, "softmax-0.5-four", "centered-0.5-four")),
    ),
    Case(
        True, True, False, (8, 8), "60", "pass@1",
        "Any scheme without a constant; they are equivalent",
        tuple(Compared(UNPAID, name) for name in ("dr-grpo", "centered-0.5", "maxrl", "raft", "softmax-0.5")),
    ),
    Case(
        True, True, False, (8, 8), "60", "pass@1",
        "Of the temperatures: any for softmax_centered; for softmax at most a tenth of the range",
        tuple(
            Compared(TAU_UNPAID, f"{scheme}-{tau}")
            for scheme, taus in (("centered", ("0.1", "0.5", "10.0")), ("softmax", ("0.1", "0.5", "0.75", "2.0")))
            for tau in taus
        ),
    ),
    Case(
        True, True, False, (8, 8), "60", "pass@16",
        "A scheme that counts hard prompts more: softmax_centered at a low τ, or maxrl",
        (*(Compared(UNPAID, name, endpoint="pass@16") for name in ("softmax-0.5", "maxrl")),
         *(Compared(TAU_UNPAID, name, endpoint="pass@16") for name in ("centered-0.05", "centered-10.0"))),
    ),
    Case(
        True, False, True, (8, 8), "30", "pass@1",
        "Any scheme without a constant; they are equivalent",
        (
            *(Compared(ROOM, name) for name in ("dr-grpo", "centered-0.5", "maxrl", "raft")),
            Compared(ROOM, "softmax-0.5", endpoint="final"),
        ),
    ),
    Case(
        True, False, True, (8, 8), "30", "pass@1",
        "Where half of the answers lack the format: dr_grpo or raft",
        tuple(Compared(SLIPS, name) for name in ("dr-grpo", "raft", "centered-0.5", "softmax-0.5")),
    ),
    Case(
        True, False, True, (8, 8), "80", "pass@1",
        "linear, or a scheme without a constant; softmax loses more the higher its τ",
        tuple(Compared("countdown-mini-full", name) for name in ("centered-0.5", "softmax-0.25", "softmax-1.0")),
    ),
    Case(
        True, False, True, (4, 4), "80", "pass@1",
        "linear, or a scheme without a constant",
        tuple(Compared("countdown-mini-grid-groups-4", name) for name in ("softmax-0.5", "centered-1.0")),
    ),
    Case(
        True, False, True, (16, 16), "80", "pass@1",
        "linear, or a scheme without a constant",
        tuple(Compared("countdown-mini-grid-groups-16", name) for name in ("softmax-0.5", "centered-1.0")),
    ),
    Case(
        False, False, True, (8, 8), "40", "pass@1",
        "linear, or a scheme without a constant; they are equivalent",
        tuple(Compared(PRODUCTS, name) for name in ("centered-0.5", "dr-grpo", "softmax-0.5", "softmax-1.0")),
    ),
    Case(
        False, False, True, (8, 8), "80", "pass@1",
        "linear; softmax with a high τ loses",
        (Compared("multiplication-mini", "softmax-1.0"), Compared("multiplication-mini", "centered-0.5")),
    ),
    Case(None, None, None, (32, 1024), "any", "pass@1", ""),
    Case(None, None, None, (2, 1024), "more than 400", "pass@1", ""),
)  # fmt: skip


def fill(text: str, numbers: Mapping[Compared, Numbers]) -> str:
    """The text of the page with the table, and the end of its example, as they should be."""
    lines = "\n".join(textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in found(*EXAMPLE, numbers))
    example = re.sub(r"^Trained here .*?\n\n", lambda _: f"{lines}\n\n", text, count=1, flags=re.DOTALL | re.MULTILINE)
    return generated_section.replace(example, BEGIN, END, f"\n{table(numbers)}\n")


def table(numbers: Mapping[Compared, Numbers]) -> str:
    """One row per case, in Markdown."""
    lines = [
        "| right answers | long answers lose the format | format paid | N | updates | wanted | use | because |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        size = f"{case.sizes[0]}" if case.sizes[0] == case.sizes[1] else f"{case.sizes[0]} to {case.sizes[1]}"
        cells = [
            {None: "any", True: "rare", False: "not rare"}[case.rare],
            *({None: "any", True: "yes", False: "no"}[value] for value in (case.costly, case.paid)),
            size,
            case.updates,
            case.wanted,
            case.use or "*not tried*",
            because(case, numbers) or "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def because(case: Case, numbers: Mapping[Compared, Numbers]) -> str:
    """The evidence of a case: "countdown-mini-trap, minus linear, 5 seeds: raft +5.4 [+4.2, +6.6]; maxrl …"."""
    parts: dict[str, list[str]] = {}
    for compared in case.evidence:
        found = numbers[compared]
        against = compared.against.replace("baseline", "linear")
        endpoint = "" if compared.endpoint == "auc" else f" in {compared.endpoint}"
        shared = f"{compared.experiment}, minus {against}{endpoint}, {found.units} {found.unit}"
        difference, low, high = (signed(100 * value) for value in found[:3])
        parts.setdefault(shared, []).append(f"{compared.ablation} {difference} [{low}, {high}]")
    return "; ".join(f"{shared}: {'; '.join(texts)}" for shared, texts in parts.items())


def found(
    success: float,
    costly: bool | None,
    paid: bool,
    size: int,
    numbers: Mapping[Compared, Numbers] | None = None,
) -> list[str]:
    """What training found in the cases that a log fits, one text per case.

    The arguments are those of `Case.fits`, and the numbers of the evidence, which are by default those of `known`.
    """
    numbers = known() if numbers is None else numbers
    cases = [case for case in CASES if case.use and case.fits(success, costly, paid, size)]
    if not cases:
        return ["Trained here: nothing like this log."]
    return [
        f"Trained here ({MODEL}, {case.updates} updates), for {case.wanted}: {case.use}. {because(case, numbers)}."
        for case in cases
    ]


def to_json(numbers: Mapping[Compared, Numbers]) -> str:
    """The text of `evidence.json`."""
    rows = [compared._asdict() | found._asdict() for compared, found in numbers.items()]
    return json.dumps(rows, indent=1) + "\n"


def known() -> dict[Compared, Numbers]:
    """The numbers of `evidence.json`."""
    text = resources.files("softmax_rewards.verdicts").joinpath(Path(NUMBERS).name).read_text(encoding="utf-8")
    return {
        Compared(*(row[name] for name in Compared._fields)): Numbers(*(row[name] for name in Numbers._fields))
        for row in json.loads(text)
    }
