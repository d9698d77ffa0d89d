"""The machine in the results of `hot.py`, described as in the other results, without its name."""

from typing import Any

import machine


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info.update(machine.described())


def pytest_benchmark_update_commit_info(config: Any, commit_info: dict[str, Any]) -> None:
    commit_info.clear()  # the machine's description has the revision


def pytest_benchmark_update_json(config: Any, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    for benchmark in output_json["benchmarks"]:
        del benchmark["stats"]["data"]  # all single measurements, about a megabyte
