"""Arithmetic expressions: text, tree and exact value.

A tree is an `int` leaf or `(operator, left, right)`. A value is an `int` if it is whole, otherwise a `Fraction`.
Nothing is ever rounded. Model output never goes to `eval`. The grammar is

    sum     = product (("+" | "-") product)*
    product = atom (("*" | "/") atom)*
    atom    = number | "(" sum ")"

Digits and operators are ASCII (no × or ÷). A number has no sign and no leading zero. Spaces are allowed only between
tokens.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

Tree: TypeAlias = int | tuple[str, "Tree", "Tree"]
Value: TypeAlias = int | Fraction
Step: TypeAlias = Value | tuple[str, "Step", "Step"]
"""A tree after some of its operations were carried out. A leaf may be any value."""

OPERATORS = "+-*/"
MAX_LENGTH = 200
"""A longer text is not read. This bounds the time, the depth of recursion and the size of every value."""

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_FOREIGN = re.compile(r"[^-+*/() 0-9]")


def parse(text: str) -> Tree | None:
    """The tree of `text`; None if `text` is no expression or longer than `MAX_LENGTH` characters."""
    if len(text) > MAX_LENGTH or _FOREIGN.search(text):
        return None
    # Dijkstra's shunting yard. Its stack is a list, so nesting costs nothing, unlike in recursive descent.
    operands: list[Tree] = []
    pending: list[str] = []

    def reduce() -> None:
        right = operands.pop()
        operands[-1] = (pending.pop(), operands[-1], right)

    want_operand = True
    for token in _TOKEN.findall(text):
        if token in _PRECEDENCE:
            if want_operand:
                return None
            while pending and _PRECEDENCE.get(pending[-1], 0) >= _PRECEDENCE[token]:
                reduce()
            pending.append(token)
            want_operand = True
        elif token == ")":
            if want_operand:
                return None
            while pending and pending[-1] != "(":
                reduce()
            if not pending:
                return None
            pending.pop()
        elif not want_operand:
            return None
        elif token == "(":
            pending.append(token)
        elif token[0] == "0" and len(token) > 1:
            return None
        else:
            operands.append(int(token))
            want_operand = False
    if want_operand:
        return None
    while pending:
        if pending[-1] == "(":
            return None
        reduce()
    return operands[0]


def divide(numerator: Value, denominator: Value) -> Value:
    """The exact quotient, an `int` if it is whole. Raises ZeroDivisionError."""
    if numerator % denominator == 0:
        return numerator // denominator
    return Fraction(numerator) / denominator


def value(tree: Step) -> Value:
    """The exact value of `tree`. Raises ZeroDivisionError."""
    if isinstance(tree, int | Fraction):
        return tree
    operator, left, right = tree
    a, b = value(left), value(right)
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    return divide(a, b)


def reduced(tree: tuple[str, Step, Step]) -> Step:
    """`tree` after its first operation on two numbers is carried out. Raises ZeroDivisionError."""
    operator, left, right = tree
    if not isinstance(left, int | Fraction):
        return (operator, reduced(left), right)
    if not isinstance(right, int | Fraction):
        return (operator, left, reduced(right))
    return value(tree)


def leaves(tree: Step) -> Iterator[Value]:
    """The numbers of `tree` from left to right."""
    if isinstance(tree, tuple):
        yield from leaves(tree[1])
        yield from leaves(tree[2])
    else:
        yield tree


def text(tree: Step, *, spaced: bool = False) -> str:
    """`tree` as text, with as few parentheses as its value allows: `3*(5-1)`, but `3+5-1` for 3+(5-1).

    `spaced` writes it as people do: `3 * (5 - 1)`, and `3 - (-2)` instead of `3--2`.
    """
    if isinstance(tree, int):
        return str(tree)
    if isinstance(tree, Fraction):
        return f"({tree})"
    operator, left, right = tree
    rank = _PRECEDENCE[operator]
    first, second = text(left, spaced=spaced), text(right, spaced=spaced)
    if not isinstance(left, int | Fraction) and _PRECEDENCE[left[0]] < rank:
        first = f"({first})"
    if isinstance(right, int):
        second = f"({second})" if spaced and right < 0 else second
    # Behind - and / an operand of the same rank needs parentheses as well: 3-(5-1) is not 3-5-1.
    elif not isinstance(right, Fraction) and _PRECEDENCE[right[0]] < rank + (operator in "-/"):
        second = f"({second})"
    return f"{first} {operator} {second}" if spaced else f"{first}{operator}{second}"


def canonical(tree: Tree) -> str:
    """The same text for all expressions that differ only by order and grouping within sums and within products.

    `5+3-2`, `3-(2-5)` and `(3-2)+5` all give `(3+5-2)`. Products of sums are not expanded: 2*(3+4) and 2*3+2*4 differ.
    """
    if isinstance(tree, int):
        return str(tree)
    rank = _PRECEDENCE[tree[0]]
    direct: list[str] = []  # terms that are added, or factors that are multiplied
    inverse: list[str] = []  # terms that are subtracted, or factors that are divided by

    def collect(node: Tree, inverted: bool) -> None:
        if isinstance(node, int) or _PRECEDENCE[node[0]] != rank:
            (inverse if inverted else direct).append(canonical(node))
        else:
            collect(node[1], inverted)
            collect(node[2], inverted ^ (node[0] in "-/"))

    collect(tree, False)
    join, undo = ("+", "-") if rank == 1 else ("*", "/")
    return "(" + join.join(sorted(direct)) + "".join(undo + part for part in sorted(inverse)) + ")"
