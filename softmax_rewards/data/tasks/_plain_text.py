"""Rewrites the arithmetic of a language model's text in plain characters, so that equations can be read.

Markdown, LaTeX and Unicode become what a keyboard writes: `**12 × 3 = 36**` and `\\(12 \\times 3 = 36\\)` become
`12 * 3 = 36`. A compact trace of the embedded model stays as it is. Everything takes linear time on any text.
"""

import functools
import re

RIGHT_SIGNS = "✓✔✅☑🗸🎉🎊🎯👍💯🥳🏆🙌👏"
WRONG_SIGNS = "✗✘❌✖✕🚫👎⛔☒"

# The embedded model's tokens: characters, yes, no, and tags like <think> and <pad>.
_COMPACT = re.compile(r"(?:[-0-9+*/()=\[\],:\nnoyes]++|</?[a-z]{1,8}>)*+")

_CHARACTERS = {
    **dict.fromkeys(map(ord, "×·⋅∙∗⨯＊"), "*"),
    **dict.fromkeys(map(ord, "÷∕⁄／"), "/"),
    **dict.fromkeys(map(ord, "−﹣－"), "-"),
    **dict.fromkeys(map(ord, "⇒⟹➜➔➡⟶⟾"), "→"),
    **dict.fromkeys(map(ord, "≃≅≒"), "≈"),
    **dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"), " "),
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff"), ""),  # without width
    **dict(zip(map(ord, "＋＝（）’‘"), "+=()''", strict=True)),
    ord("²"): "**2",
    ord("³"): "**3",
}

_COMMANDS = {
    **dict.fromkeys(["times", "cdot", "ast", "bullet"], "*"),
    **dict.fromkeys(["div"], "/"),
    **dict.fromkeys(["ne", "neq"], "≠"),
    **dict.fromkeys(["approx", "simeq", "thickapprox"], "≈"),
    **dict.fromkeys(["implies", "Rightarrow", "rightarrow", "to", "longrightarrow", "Longrightarrow"], "→"),
    **dict.fromkeys(["checkmark", "surd"], "✓"),
    **dict.fromkeys(["\\", "begin", "end", "newline"], "\n"),
    **dict.fromkeys(["left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr"], ""),
}
# The braces of these commands contain text that is read.
_FRACTION = re.compile(r"\\[dtc]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+|.)", re.DOTALL)

# A star is an operator between two operands. Otherwise it is Markdown's emphasis. Two stars are an operator (power) only
# if both sides have a space, or none.
_STARS = re.compile(r"([0-9)]?)( ?)(\*++)( ?)(?=([0-9(]?))")
_BULLET = re.compile(r"^[ >]*(?:[-+•◦▪‣–—]|[0-9]{1,2}[.)]|\(?[a-z0-9]\)|#{1,6}|//?)(?: +(?:\[[ xX]\] +)?|$)", re.MULTILINE)
_TABLE_ROW = re.compile(r"^ ?\|.*$", re.MULTILINE)
_CELL_EXPRESSION = re.compile(r"(?=[-+*/( ]*+[0-9]++(?:\.[0-9]++)?+[ )]*+[-+*/])[-+*/() 0-9.]++")
_CELL_NUMBER = re.compile(r" *(?:= ?-?[0-9].*|-?[0-9]+(?:[./][0-9]+)? *)")
_SIGN_FIRST = re.compile(rf"^ *([{RIGHT_SIGNS}{WRONG_SIGNS}]++)[ :.-]*+([^\n=≈]*+[=≈][^\n]*)$", re.MULTILINE)
_REWRITTEN = (
    (re.compile(r"<<[^<>\n]*+>>"), ""),  # GSM8K's calculations
    (re.compile(r",(?<=[0-9],)(?=[0-9]{3}(?![0-9]))"), ""),  # 40,000
    (re.compile(r"!=|=/="), "≠"),
    (re.compile(r"={2,}(?!>)"), "="),
    (re.compile(r"[-=]{1,2}>"), "→"),
    (re.compile(r"<-+"), "←"),
    (re.compile(r"(?<!\n)\n++ ?=(?= ?[-(0-9])"), " ="),  # a step on a line of its own
    (re.compile(r"; ?//"), " #"),
    (re.compile(r"~=|=~"), "≈"),
    (re.compile(r"(?<=[0-9)]) ?[xX✕✖•] ?(?=[0-9(])"), " * "),
    (re.compile(r"(?<=[0-9)]) ?– ?(?=[0-9(])"), " - "),
    (re.compile(r"(?<=[0-9)]) plus (?=[-(]?[0-9(])"), " + "),
    (re.compile(r"(?<=[0-9)]) minus (?=[-(]?[0-9(])"), " - "),
    (re.compile(r"(?<=[0-9)]) (?:times|multiplied by) (?=[-(]?[0-9(])"), " * "),
    (re.compile(r"(?<=[0-9)]) divided by (?=[-(]?[0-9(])"), " / "),
    (re.compile(r"\[([-+*/() 0-9.]++)\]"), r"(\1)"),
    (re.compile(r"(?<==)( ?)\((-?[0-9]++(?:[./][0-9]++)?)\)(?! ?[-+*/=])"), r"\1\2"),  # = (38/5)
)


def is_compact(text: str) -> bool:
    """Whether `text` has nothing but tokens of the embedded model."""
    return _COMPACT.fullmatch(text) is not None


@functools.lru_cache(maxsize=4)  # the reader of equations, of marks and of surrender all ask for it
def plain(text: str) -> str:
    """`text` with plain operators and without markup. Its words and lines stay."""
    if is_compact(text):
        return text
    if not text.isascii():
        text = text.translate(_CHARACTERS)
    if "\\" in text:
        text = _without_latex(text)
    text = re.sub(r"[ \t]+", " ", re.sub(r"[`$]|~~|__", "", text))
    text = _STARS.sub(_operator_or_emphasis, text)
    text = _BULLET.sub("", text)
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return _SIGN_FIRST.sub(r"\2 \1", _TABLE_ROW.sub(_joined_cells, text))


def _without_latex(text: str) -> str:
    for _ in range(2):  # a fraction may stand in a fraction
        text = _FRACTION.sub(_divided, text)
    text = _COMMAND.sub(lambda command: _COMMANDS.get(command[1], " "), text)
    return re.sub(r"[{}&]", "", text.replace("}{", " "))


def _divided(fraction: re.Match[str]) -> str:
    top, bottom = fraction[1].strip(), fraction[2].strip()
    return f"({top}/{bottom})" if top.isdecimal() and bottom.isdecimal() else f"(({top})/({bottom}))"


def _operator_or_emphasis(match: re.Match[str]) -> str:
    before, left, stars, right, after = match.groups()
    if before and after and (len(stars) == 1 or left == right):
        return match[0]
    return before + (left or right)


def _joined_cells(row: re.Match[str]) -> str:
    """A row of a table in which an expression and a number in the next cell are an equation."""
    cells = row[0].split("|")
    joined = cells[0]
    for left, cell in zip(cells, cells[1:], strict=False):
        equation = _CELL_EXPRESSION.fullmatch(left) and _CELL_NUMBER.fullmatch(cell)
        joined += f"= {cell.strip(' =')} " if equation else f"|{cell}"
    return joined
