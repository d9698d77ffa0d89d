"""Checks the properties of `properties.py` for many inputs, and counts inputs, seconds and findings.

    python benchmarks/fuzz.py [--share 1.0] [--out benchmarks/results/fuzz.json]

An input is made from its target's name and its number, so that a finding can be repeated: `Random("config 17")`. Each
target runs in its own process, which may take 2 GiB more memory than at its start. An input that needs more gives a
MemoryError, which is a finding. A process that dies is a finding too. The next process goes on with the next input.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

import properties
from machine import write_result

INPUTS = {  # inputs per target; slow targets get fewer
    "verifier": 305_000,
    "table .csv": 45_000,
    "table .jsonl": 45_000,
    "table .parquet": 6_000,
    "dataset": 3_000,
    "config": 1_500,
    "checkpoint": 1_500,
}
SPARE = 2 * 2**30  # bytes
SHOWN = 300  # characters of an input that a finding shows


def origin(error: BaseException) -> str:
    """The name of a finding: the error, and the innermost function of this project in its traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "softmax_rewards" in frame.filename]
    message = str(error).splitlines()[0][:80] if isinstance(error, AssertionError) else ""
    at = f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "properties"
    return f"{type(error).__name__} in {at} {message}".strip()


def part(name: str, begin: int, end: int, folder: Path) -> None:
    """Check the inputs from `begin` to `end` and print the findings. `folder`/at has the present input's number."""
    target = properties.targets()[name](folder)
    taken = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))
    findings: dict[str, dict[str, Any]] = {}
    with (folder / "at").open("r+b") as at:
        for number in range(begin, end):
            at.seek(0)
            at.write(b"%12d" % number)
            at.flush()
            example = target.make(Random(f"{name} {number}"))
            try:
                target.check(example)
            except Exception as error:
                entry = findings.setdefault(
                    origin(error), {"times": 0, "number": number, "input": repr(example)[:SHOWN]}
                )
                entry["times"] += 1
                entry.setdefault("message", str(error.__context__ or error)[:SHOWN])
    print(json.dumps(findings))


def run(name: str, total: int) -> dict[str, Any]:
    """Check all inputs of a target. After an input that kills the process, a new process goes on."""
    began, next_one, findings = time.perf_counter(), 0, {}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "at"
        while next_one < total:
            at.write_bytes(b"%12d" % next_one)
            arguments = [sys.executable, __file__, "--part", name, str(next_one), str(total), folder]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                findings |= json.loads(done.stdout.splitlines()[-1])
                break
            number = int(at.read_bytes())
            last = (done.stderr.splitlines() or [""])[-1][:SHOWN]
            findings[f"ended with {done.returncode} at input {number}"] = {
                "times": 1,
                "number": number,
                "message": last,
            }
            next_one = number + 1
    seconds = round(time.perf_counter() - began, 1)
    return {"inputs": total, "seconds": seconds, "findings": findings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of inputs")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        name, begin, end, folder = arguments.part
        part(name, int(begin), int(end), Path(folder))
        return
    results = {}
    for name in properties.targets():
        inputs = INPUTS.get(name, INPUTS["verifier"])  # any other target is the verifier of a task
        results[name] = run(name, max(round(arguments.share * inputs), 1))
        print(name, json.dumps(results[name], indent=1), flush=True)
    together = {key: round(sum(one[key] for one in results.values()), 1) for key in ("inputs", "seconds")}
    write_result(arguments.out, "fuzz", together | {"targets": results})


if __name__ == "__main__":
    main()
