"""The expression parser against an oracle built on Python's own grammar and fractions."""

import ast
import operator as op
import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.data.tasks import _expressions as expressions

NODES = {ast.Add: op.add, ast.Sub: op.sub, ast.Mult: op.mul, ast.Div: op.truediv}


def oracle(written):
    """The value of `written`, None if it is no expression of the grammar, "zero" if it divides by zero."""
    if not re.fullmatch(r"[-+*/() 0-9]*", written) or len(written) > 200 or "**" in written:
        return None
    try:
        root = ast.parse(f"({written}\n)", mode="eval").body
    except SyntaxError:  # leading zeros among them
        return None
    if re.search(r"\b00+\b", written):  # which Python reads as 0
        return None

    def walk(node):  # to every leaf, zero divisors or not: bad grammar anywhere outranks them
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return Fraction(node.value)
        if not (isinstance(node, ast.BinOp) and type(node.op) in NODES):
            raise TypeError(ast.dump(node))
        a, b = walk(node.left), walk(node.right)
        if "zero" in (a, b) or (isinstance(node.op, ast.Div) and b == 0):
            return "zero"
        return NODES[type(node.op)](a, b)

    try:
        return walk(root)
    except TypeError:
        return None


def ours(written):
    tree = expressions.parse(written)
    if tree is None:
        return None
    try:
        return expressions.value(tree)
    except ZeroDivisionError:
        return "zero"


def random_expression(rng, depth):
    if depth == 0 or rng.random() < 0.3:
        return str(rng.choice([0, 1, 2, 3, 5, 7, 10, 12, 99]))
    written = rng.choice("+-*/").join(random_expression(rng, depth - 1) for _ in range(2))
    return f"({written})" if rng.random() < 0.6 else written


def mutated(rng, written):
    place = rng.randrange(len(written) + 1)
    return written[:place] + rng.choice("+-*/() 0123456789") + written[place + rng.randrange(3) :]


def test_a_hundred_thousand_expressions_agree_with_the_oracle():
    rng = random.Random(0)
    verdicts = {"value": 0, "zero": 0, "refused": 0}
    for _ in range(50_000):
        valid = random_expression(rng, rng.choice([1, 2, 2, 3]))
        for written in (valid, mutated(rng, valid)):
            expected = oracle(written)
            assert ours(written) == expected, written
            verdicts[{None: "refused", "zero": "zero"}.get(expected, "value")] += 1
    assert sum(verdicts.values()) == 100_000
    assert min(verdicts.values()) > 2_000, verdicts


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "()", "(", ")", ")(", "1+", "+1", "-1", "1+-1", "--1", "1--1", "(-1)+2", "1 2", "(1)(2)",
        "2(3)", "(2)3", "9**9**9", "7//2", "07+1", "00", "0x10", "1_000", "1e3", "1.5", "1,2", "1=1", "a+1",
        "1+1\n", "\t1", "\u0661+\u0662", "\uff11+1", "3\u00d75", "6\u00f72", "\u22121", "1+\u00a02",
        "__import__('os')", "(" * 100, "(" * 5_000 + "1" + ")" * 5_000, "1" * 201, "1+" * 100 + "1",
    ],
)  # fmt: skip
def test_what_is_outside_the_grammar_is_refused(written):
    assert expressions.parse(written) is None


def test_limits_are_inclusive():
    assert expressions.value(expressions.parse("(" * 99 + "71" + ")" * 99)) == 71
    assert expressions.value(expressions.parse("1" * 200)) == int("1" * 200)
    assert expressions.value(expressions.parse("1+" * 99 + "1 ")) == 100


def test_precedence_and_association():
    cases = {
        "2+3*4": 14,
        "20-5-3": 12,
        "24/4/2": 3,
        "2*3/4": Fraction(3, 2),
        "8/(3-8/3)": 24,
        " ( 1 + 2 ) / 3 ": 1,
    }
    for written, expected in cases.items():
        assert ours(written) == expected


trees = st.recursive(st.integers(1, 99), lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner), max_leaves=8)


def outcome(tree):
    try:
        return expressions.value(tree)
    except ZeroDivisionError:
        return "zero"


@given(trees)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_text_keeps_the_value_and_needs_each_pair_of_parentheses(tree):
    written = expressions.text(tree)
    parsed = expressions.parse(written)
    assert outcome(parsed) == outcome(tree)
    assert list(expressions.leaves(parsed)) == list(expressions.leaves(tree))
    assert expressions.text(parsed) == written


@given(trees, st.randoms(use_true_random=False))
@settings(deadline=None, derandomize=True, max_examples=400)
def test_canonical_ignores_order_and_grouping(tree, rng):
    def shuffled(node):
        if isinstance(node, int):
            return node
        operator, left, right = node[0], shuffled(node[1]), shuffled(node[2])
        if operator in "+*" and rng.random() < 0.5:
            left, right = right, left
        if operator in "+*" and isinstance(right, tuple) and right[0] == operator:  # a+(b+c) = (a+b)+c
            return (operator, (operator, left, right[1]), right[2])
        return (operator, left, right)

    assert expressions.canonical(shuffled(tree)) == expressions.canonical(tree)


def test_canonical_form():
    def form(written):
        return expressions.canonical(expressions.parse(written))

    assert form("5+3-2") == form("3-(2-5)") == form("(3-2)+5") == "(3+5-2)"
    assert form("2*(3/4)") == form("2*3/4") == form("3/(4/2)")
    assert len({form(written) for written in ("2*(3+4)", "2*3+4", "2+3*4", "2-3*4", "3*4-2")}) == 5
