"""The analysis plan as a part of the report, so that a claim's number leads to its rule."""

import re
from pathlib import Path

from IPython.display import HTML

_NUMBER = r"[CMPQ]\d+[a-c]?"
_LISTED = re.compile(rf"<(td|strong)>({_NUMBER}(?:(?:, |–){_NUMBER}|–[a-c])*)</\1>")


def anchor(claim: str) -> str:
    """The anchor of a claim's rule in the plan: "C3a τ=0.75" -> "claim-C3a"; the gate has its own."""
    number = re.match(_NUMBER, claim)
    return f"claim-{number.group() if number else claim}"


def page(plan: Path) -> HTML:
    """The plan, with an anchor at the rule of every claim. Its headings become one level smaller."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    text = plan.read_text(encoding="utf-8").partition("\n")[2]  # the page has a title of its own
    shown = markdown2html_mistune(text).replace("<em>Gate.</em>", f'<em id="{anchor("gate")}">Gate.</em>')
    placed: set[str] = set()

    def mark(found: re.Match) -> str:
        new = [name for name in _claims(found[2]) if name not in placed]
        placed.update(new)
        anchors = "".join(f'<a id="{anchor(name)}"></a>' for name in new)
        return found[0].replace(f"<{found[1]}>", f"<{found[1]}>{anchors}", 1)

    # A plan of the repository links to files beside it, which a report does not have: only the words stay.
    return HTML(re.sub(r'<a href="(?!#)[^"]*">(.*?)</a>', r"\1", _LISTED.sub(mark, shown), flags=re.DOTALL))


def _claims(listed: str) -> list[str]:
    """The claims of the first cell of a row: "C10a–c" -> C10a, C10b, C10c."""
    names: list[str] = []
    for part in listed.split(", "):
        first, _, last = part.partition("–")
        names.append(first)
        if last in ("b", "c"):
            names += [first[:-1] + letter for letter in "bc" if letter <= last]
    return names
