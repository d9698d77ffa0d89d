"""Judges completions independently of the verifiers, by other means.

The format is one regular expression. Python's own parser reads arithmetic, and nothing is evaluated. Numbers are read
by hand.
"""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from operator import add, mul, sub, truediv
from typing import Any

_PLAIN = r"(?:(?!</?(?:think|answer)>).)*"  # text without any of the four tags
_THOUGHT = r"(?:<think>[^<]*</think>|(?!</?think>).)*"  # its own tags only in pairs
FORMATTED = re.compile(rf"{_THOUGHT}</think>\n<answer>({_PLAIN})</answer>", re.DOTALL)
ANSWERED = re.compile(rf".*</think>{_PLAIN}<answer>({_PLAIN})</answer>{_PLAIN}", re.DOTALL)
_OPERATIONS = {ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv}


def expression_is_right(answer: str, row: dict[str, Any]) -> bool:
    """Whether `answer` uses each number once and equals the target, by Python's own parser and exact fractions."""
    if len(answer) > 200 or not re.fullmatch(r"[-+*/() 0-9]+", answer) or re.search(r"(?<![0-9])0[0-9]", answer):
        return False

    def value(node: ast.AST) -> Fraction:
        if isinstance(node, ast.BinOp):
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        used.append(node.value)
        return Fraction(node.value)

    used: list[int] = []
    try:
        return value(ast.parse(answer.strip(), mode="eval").body) == row["target"] and sorted(used) == sorted(
            row["nums"]
        )
    except (SyntaxError, KeyError, AttributeError, ZeroDivisionError):
        return False


def number_is_right(answer: str, right: Fraction) -> bool:
    """Whether `answer` is a number equal to `right`, read by hand.

    A number has a sign, $, and a whole part with or without commas. Decimals or a denominator may follow.
    """
    text = answer.removesuffix(".")
    sign = -1 if "-" in text[:2].replace("$", "") or text[:1] == "-" else 1
    if text[:2] in ("-$", "$-"):
        text = text[2:]
    elif text[:1] in ("-", "$"):
        text = text[1:]
    whole, point, behind = text.partition("/" if "/" in text else ".")
    first, *groups = whole.split(",")
    if len(answer) > 40 or not all(len(group) == 3 for group in groups) or (groups and len(first) > 3):
        return False
    digits = [first, *groups, behind] if point and whole else [behind] if point == "." else [first, *groups]
    if not all(part.isascii() and part.isdigit() for part in digits):
        return False
    number = Fraction(int("".join([first, *groups]) or "0"))
    if point == "/":
        return int(behind) != 0 and sign * number / int(behind) == right
    return sign * (number + Fraction(int(behind or "0"), 10 ** len(behind))) == right


ORACLES: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "countdown": expression_is_right,
    "gsm8k": lambda answer, row: number_is_right(answer, Fraction(row["answer"])),
    "multiplication": lambda answer, row: number_is_right(answer, Fraction(row["a"] * row["b"])),
}


def is_right(task: str, completion: str, row: dict[str, Any]) -> bool:
    """Whether there is exactly one answer behind the thinking, and it is right."""
    answer = ANSWERED.fullmatch(completion)
    return answer is not None and ORACLES[task](answer[1].strip(), row)
