"""Describes the machine, for the files of results."""

import datetime
from pathlib import Path
from typing import Any

import torch

from softmax_rewards.common import environment, files


def write_result(out: Path | None, name: str, results: Any) -> None:
    """Write `results` of the benchmark `name` with machine and versions to `out`. Does nothing without `out`."""
    if out is not None:
        date = datetime.date.today().isoformat()
        files.write_json({"benchmark": name, "date": date, "machine": described(), "results": results}, out)


def described() -> dict[str, Any]:
    """Machine, versions and revision."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return environment.described() | {"gpu": gpu, "cuda": torch.version.cuda, "memory_gb": memory_gb()}


def memory_gb() -> float:
    """The memory of the machine in 10^9 bytes."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemTotal"))
    return round(int(kilobytes) * 1024 / 1e9, 1)
