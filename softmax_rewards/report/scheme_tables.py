"""The tables of docs/schemes.md, generated from the schemes' docstrings and signatures and from `study/scheme_map.py`.

A scheme's docstring has its formulas as indented lines, its paper as an arXiv number or an address, and what it becomes
in a limit in a paragraph that begins with "Limit:".
"""

import inspect
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.common import generated_section, plugins
from softmax_rewards.weighting.study import scheme_map

PAGE = "docs/schemes.md"
BEGIN, END = "<!-- {}: generated, see `softmax-rewards generate-docs` -->", "<!-- end of table -->"
FOLDER = "../softmax_rewards/weighting/schemes"
NONE = "–"
MIDDLE = scheme_map.POINTS[1]  # the population whose tilt is shown; it hardly differs between populations


def fill(text: str) -> str:
    """The text of docs/schemes.md with the tables as they should be."""
    tables = {"formulas": formulas(), "hyperparameters": hyperparameters(), "map": figures(scheme_map.table())}
    for name, table in tables.items():
        text = generated_section.replace(text, BEGIN.format(name), END, f"\n{table}\n")
    return text


def formulas() -> str:
    """One row per scheme: its formula, its paper, and its limit."""
    rows = []
    for scheme in weighting.names():
        documentation = inspect.getdoc(plugins.load(plugins.SCHEMES, scheme)) or ""
        indented = [line.strip() for line in documentation.splitlines() if line.startswith("    ")]
        # Code in a table cannot contain other code.
        formula = "<br>".join(f"`{_on_one_line(line).replace('`', '')}`" for line in indented)
        limit = re.search(r"^Limit: (.*?)(?:\n\n|\Z)", documentation, re.S | re.M)
        rows.append([_link(scheme), formula, _papers(documentation), limit and _on_one_line(limit[1])])
    return _table(["scheme", "weight of a sample", "paper", "limit"], rows)


def hyperparameters() -> str:
    """One row per hyperparameter of each scheme, but one for the `tau` of all schemes that have it."""
    rows, tempered = [], []
    for scheme in weighting.names():
        defaults, numbers = weighting.hyperparameters(scheme), weighting.numbers(scheme)
        for name, number in numbers.items():
            if name == "tau":
                tempered.append(scheme)
                continue
            default = "none" if defaults[name] is None else f"{defaults[name]:g}"
            rows.append([f"`{scheme}`", f"`{name}`", number.description, number.allowed(), default])
    tau = weighting.numbers(tempered[0])["tau"]
    names = ", ".join(f"`{scheme}`" for scheme in tempered)
    rows.append([names, "`tau`", tau.description, tau.allowed(), "required"])
    return _table(["scheme", "key", "meaning", "allowed", "default"], rows)


def figures(table: pd.DataFrame) -> str:
    """One row per setting of `scheme_map.table`: rho and X on each canonical population, and tilt."""
    points = [f"{100 * success:g} %, {100 * well_formed:g} %" for success, well_formed in scheme_map.POINTS]
    rows = []
    for (scheme, setting), part in table.groupby(["scheme", "setting"], sort=False):
        tilt = part.loc[part["success"] == MIDDLE[0], "tilt"]
        row = [f"`{scheme}`", setting.replace("tau", "τ").replace("alpha", "α")]
        rows.append([*row, *map(_three, part["rho"]), *map(_two, tilt), *map(_three, part["x"])])
    head = ["scheme", "setting", *(f"ρ at {point}" for point in points), "tilt", *(f"X at {point}" for point in points)]
    return _table(head, rows)


def _link(scheme: str) -> str:
    return f"[`{scheme}`]({FOLDER}/{scheme}.py)"


def _papers(documentation: str) -> str:
    numbers = re.findall(r"arXiv (\d{4}\.\d{5})", documentation)
    addresses = re.findall(r"https://[\w./-]+\w", documentation)
    links = [f"[{number}](https://arxiv.org/abs/{number})" for number in numbers]
    return ", ".join([*links, *(f"[code]({address})" for address in addresses)])


def _on_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip())


def _three(value: float) -> str:
    # Adding 0.0 turns −0.0 into 0.0.
    return NONE if np.isnan(value) else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _two(value: float) -> str:
    return NONE if np.isnan(value) else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """A Markdown table. An empty cell gets a dash."""
    lines = [[cell or NONE for cell in row] for row in rows]
    # A vertical bar in a cell would end the cell.
    texts = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in [head, ["---"] * len(head), *lines]]
    return "".join(f"| {text} |\n" for text in texts)
