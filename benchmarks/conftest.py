"""What `hot.py` was measured on, said as in the other results, without the machine's name."""

from typing import Any

import machine


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info.update(machine.described())


def pytest_benchmark_update_commit_info(config: Any, commit_info: dict[str, Any]) -> None:
    commit_info.clear()  # the revision is in the machine's description


def pytest_benchmark_update_json(config: Any, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    for benchmark in output_json["benchmarks"]:
        del benchmark["stats"]["data"]  # every single time, a megabyte in all
