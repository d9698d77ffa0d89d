"""Countdown puzzles: expressions over k numbers, an exact solver, a generator."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations, combinations_with_replacement, permutations, product
from math import comb
from typing import TypeAlias

import numpy as np

from softmax_rewards.data.tasks._expressions import (
    OPERATORS,
    Step,
    Tree,
    Value,
    divide,
    leaves,
    reduced,
    text,
    value,
)

MAX_NUMBERS = 6
_DRAWS = 100  # of an attempt, until all its steps are in range
_ENUMERABLE = 1_000_000  # the most expressions that are enumerated; if there are more, expressions are drawn

Shape: TypeAlias = int | tuple[int, "Shape", "Shape"]
"""A binary tree over k numbers in a row. A leaf is the position of a number. A node is (gap, left, right): its operator
stands in the gap between two neighboring numbers."""


@cache
def _orders(count: int) -> list[tuple[int, ...]]:
    return list(permutations(range(count)))


@cache
def _shapes(count: int) -> list[Shape]:
    def trees(low: int, high: int) -> list[Shape]:
        if high - low == 1:
            return [low]
        return [
            (middle - 1, left, right)
            for middle in range(low + 1, high)
            for left in trees(low, middle)
            for right in trees(middle, high)
        ]

    return trees(0, count)


def _fill(shape: Shape, numbers: Sequence[int], operators: Sequence[str]) -> Tree:
    if isinstance(shape, int):
        return numbers[shape]
    gap, left, right = shape
    return (operators[gap], _fill(left, numbers, operators), _fill(right, numbers, operators))


def attempt(
    numbers: Sequence[int], operators: str, rng: np.random.Generator, largest_step: int | None = None
) -> list[Step]:
    """The steps of a random expression over all `numbers`, uniform over (order, operators, tree shape).

    With `largest_step`, an expression with a step below 0 or above it is drawn again, up to 100 times. A step may
    always be as large as the largest number.
    """
    count = len(numbers)
    orders, shapes = _orders(count), _shapes(count)
    largest = None if largest_step is None else max(largest_step, *numbers)
    draws = 0
    while True:
        ordered = [int(numbers[i]) for i in orders[rng.integers(len(orders))]]
        chosen = [operators[i] for i in rng.integers(len(operators), size=count - 1)]
        tree = _fill(shapes[rng.integers(len(shapes))], ordered, chosen)
        draws += 1
        try:
            steps = work_out(tree)
        except ZeroDivisionError:  # this expression has no value, so draw another one
            continue
        # Some numbers have no expression in range, so the search for one ends.
        if largest is None or draws >= _DRAWS or _in_range(steps, largest):
            return steps


def _in_range(steps: Sequence[Step], largest: int) -> bool:
    return all(0 <= number <= largest for step in steps[1:] for number in leaves(step))


def work_out(tree: Tree) -> list[Step]:
    """`tree`, then the rest after each operation, down to the value: (9+6)*2, 15*2, 30. Raises ZeroDivisionError."""
    step: Step = tree
    steps = [step]
    while isinstance(step, tuple):
        step = reduced(step)
        steps.append(step)
    return steps


# --- Solver ---------------------------------------------------------------------------------------


@cache
def _splits(count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to split the positions 0..count-1 into two sets (part, rest), where `part` is not the larger one."""
    every = range(count)
    return [
        (part, tuple(i for i in every if i not in part))
        for size in range(1, count // 2 + 1)
        for part in combinations(every, size)
        if 2 * size < count or part[0] == 0  # of two equal halves, the one with position 0: each split once
    ]


class _Solver:
    """Search backward from the target, through the last operation, down to tables of all values of small sets.

    A set of numbers is split into a small part and a rest. The values a of the part are listed. The last operation
    joins a with a value b of the rest, in at most six ways (a+b, a-b, b-a, a*b, a/b, b/a). Each way gives the subgoal
    b that the rest must reach.
    """

    def __init__(self, operators: str, table_size: int) -> None:
        self.operators = operators
        self.table_size = table_size  # sets of up to this many numbers get a table, larger ones are searched
        self.tables: dict[tuple[int, ...], dict[Value, Tree]] = {}
        self.failed: set[tuple[tuple[int, ...], Value]] = set()  # searches without result, which need not be repeated

    def table(self, numbers: tuple[int, ...]) -> dict[Value, Tree]:
        """Every value that `numbers` can give, each with one tree."""
        if numbers in self.tables:
            return self.tables[numbers]
        trees: dict[Value, Tree] = {numbers[0]: numbers[0]} if len(numbers) == 1 else {}
        for part, rest in _splits(len(numbers)):
            firsts = self.table(tuple(numbers[i] for i in part)).items()
            seconds = self.table(tuple(numbers[i] for i in rest)).items()
            for (a, left), (b, right) in product(firsts, seconds):
                for operator in self.operators:
                    if operator == "+":
                        trees.setdefault(a + b, ("+", left, right))
                    elif operator == "*":
                        trees.setdefault(a * b, ("*", left, right))
                    elif operator == "-":
                        trees.setdefault(a - b, ("-", left, right))
                        trees.setdefault(b - a, ("-", right, left))
                    else:
                        if b:
                            trees.setdefault(divide(a, b), ("/", left, right))
                        if a:
                            trees.setdefault(divide(b, a), ("/", right, left))
        self.tables[numbers] = trees
        return trees

    def subgoals(self, a: Value, target: Value) -> Iterator[tuple[str, bool, Value]]:
        """(operator, whether a stands left, b) for each b that gives `target` together with a."""
        for operator in self.operators:
            if operator == "+":
                yield "+", True, target - a
            elif operator == "-":
                yield "-", True, a - target
                yield "-", False, target + a
            elif a:
                if operator == "*":
                    yield "*", True, divide(target, a)
                else:
                    yield "/", False, target * a
                    if target:
                        yield "/", True, divide(a, target)

    def search(self, numbers: tuple[int, ...], target: Value) -> Tree | None:
        """A tree over `numbers` with the value `target`, or None if there is none."""
        if len(numbers) <= self.table_size:
            return self.table(numbers).get(target)
        if (numbers, target) in self.failed:
            return None
        for part, rest in _splits(len(numbers)):
            others = tuple(numbers[i] for i in rest)
            for a, tree in self.table(tuple(numbers[i] for i in part)).items():
                if a == 0 == target and (annihilator := self.operators.strip("+-")):
                    # 0 stays 0 when it is multiplied or divided by the other numbers, which are all positive.
                    for number in others:
                        tree = (annihilator[0], tree, number)
                    return tree
                for operator, first, b in self.subgoals(a, target):
                    other = self.search(others, b)
                    if other is not None:
                        return (operator, tree, other) if first else (operator, other, tree)
        self.failed.add((numbers, target))
        return None


def solve(numbers: Sequence[int], target: int, operators: str = OPERATORS) -> str | None:
    """An expression that uses each of the positive `numbers` (at most 6) once and equals `target`, or None.

    The search is exact and complete: intermediate results may be negative or fractions. Raises ValueError for numbers
    that are not allowed.
    """
    if not 1 <= len(numbers) <= MAX_NUMBERS or min(numbers) < 1:
        raise ValueError(f"numbers: {list(numbers)}; allowed: 1 to {MAX_NUMBERS} positive integers")
    # A table of three numbers is expensive. It pays only if it is looked up often, which begins with five numbers.
    solver = _Solver(operators, table_size=2 if len(numbers) <= 4 else 3)
    tree = solver.search(tuple(sorted(map(int, numbers))), int(target))
    return None if tree is None else text(tree)


# --- Generator ------------------------------------------------------------------------------------

Puzzle = tuple[tuple[int, ...], int]
"""The numbers, sorted, and the target."""


def _every(numbers: range, count: int, operators: str, rng: np.random.Generator) -> Iterator[Tree]:
    """Every expression over `count` of the `numbers`, each once, in random order."""
    forms = list(product(_orders(count), _shapes(count), product(operators, repeat=count - 1)))
    multisets = list(combinations_with_replacement(numbers, count))
    for index in rng.permutation(len(multisets) * len(forms)).tolist():
        multiset, (order, shape, chosen) = multisets[index // len(forms)], forms[index % len(forms)]
        yield _fill(shape, [multiset[i] for i in order], chosen)


def _draw(numbers: range, count: int, targets: range, operators: str, rng: np.random.Generator) -> list[Tree]:
    """2048 random expressions of one random shape over `count` of the `numbers`, without those that miss `targets`."""
    shape = _shapes(count)[rng.integers(len(_shapes(count)))]
    drawn = rng.integers(numbers.start, numbers.stop, size=(2048, count))
    chosen = np.array(list(operators))[rng.integers(len(operators), size=(2048, count - 1))]
    # This filter is in floating point and fast. Few expressions are left for exact arithmetic, which is slow.
    with np.errstate(divide="ignore", invalid="ignore"):
        values = _approximate(shape, drawn.astype(np.float64), chosen)
        near = np.abs(values - np.rint(values)) < 1e-6
    near &= (values > targets.start - 0.5) & (values < targets.stop - 0.5)
    pairs = zip(drawn[near].tolist(), chosen[near].tolist(), strict=True)
    return [_fill(shape, row, column) for row, column in pairs]


def _approximate(shape: Shape, numbers: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Floating-point values [rows] of one shape with the numbers [rows, k] and the operators [rows, k-1]."""
    if isinstance(shape, int):
        return numbers[:, shape]
    gap, left, right = shape
    a, b = _approximate(left, numbers, operators), _approximate(right, numbers, operators)
    operator = operators[:, gap]
    return np.select([operator == "+", operator == "-", operator == "*"], [a + b, a - b, a * b], a / b)


def generate(
    numbers: range, count: int, targets: range, operators: str, minimum: int, rng: np.random.Generator
) -> dict[Puzzle, str | None]:
    """Distinct puzzles over `count` of the `numbers`, in random order, each with an expression that solves it.

    If all expressions can be enumerated (3 numbers of 1..12 have 39,312), the result is *every* puzzle. A puzzle drawn
    from it is then uniform over multisets and reachable targets. Otherwise expressions are drawn until there are
    `minimum` puzzles, or until 200,000 draws in a row give nothing new.
    """
    forms = len(_orders(count)) * len(_shapes(count)) * len(operators) ** (count - 1)
    puzzles: dict[Puzzle, str | None] = {}

    def add(trees: Iterable[Tree]) -> None:
        for tree in trees:
            try:
                target = value(tree)
            except ZeroDivisionError:
                continue
            if target.denominator == 1 and int(target) in targets:
                puzzle = tuple(sorted(map(int, leaves(tree)))), int(target)
                if puzzle not in puzzles:
                    puzzles[puzzle] = text(tree)

    if comb(len(numbers) + count - 1, count) * forms <= _ENUMERABLE:
        add(_every(numbers, count, operators, rng))
        return puzzles
    stale = 0
    while len(puzzles) < minimum and stale < 100:  # 100 · 2048 draws
        before = len(puzzles)
        add(_draw(numbers, count, targets, operators, rng))
        stale = 0 if len(puzzles) > before else stale + 1
    return puzzles
