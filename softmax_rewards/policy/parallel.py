"""Several CPU cores at once. Each computes its own micro-batch or its own rows.

PyTorch itself splits every operation among the cores. The operations of a small model are too short for that. Also, all
cores then wait for the slowest one at every operation, so a core that another process uses slows down all of them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """`count` threads, each on one core. If `count` is 1, the caller's thread computes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results of `function`, in the order of the items. To be called within `one_core`."""
        if self._pool is None:
            yield from map(function, items)
            return
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(self._pool.submit(function, item))
            # A result may be as large as the model. So at most one item more than there are threads is in progress or
            # waits for the caller.
            if len(pending) > self.count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def one_core() -> Iterator[None]:
    """Within the block, each PyTorch operation runs on one core, whichever thread starts it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
