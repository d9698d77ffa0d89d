"""Launching: one run in several processes of the same script, started by torchrun's own machinery.

Each process reads its rank from its environment (`policy/world.py`). This process only watches them: when one fails, it
ends the others and repeats the message of the first failure.
"""

import os
import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

PATIENCE = 600  # seconds that a step may take to reach its checkpoint after SIGTERM


def again(count: int) -> None:
    """Run this same command in `count` processes.

    Raises SystemExit if they fail, with one line about the first failure. SIGTERM is passed on to all of them; then the
    exit status is 143.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=PATIENCE,
    )
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except SignalException as request:
        raise SystemExit(128 + request.sigval) from None
    except ChildFailedError as error:
        rank, failure = next(iter(error.failures.items()))  # the first that ended
        if failure.exitcode == 128 + signal.SIGTERM:  # it was asked to end
            raise SystemExit(failure.exitcode) from None
        if isinstance(failure.message, dict):  # recorded by `policy/world.py`
            reason = failure.message["message"]
        elif failure.exitcode < 0:
            reason = failure.message.partition("\n")[0]
        else:
            reason = f"ended with code {failure.exitcode}, see above"
        raise SystemExit(f"rank {rank} of {count}: {reason}; the next start goes on from the last checkpoint") from None
