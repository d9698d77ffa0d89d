"""A copy of the repository in which Snakemake runs: for the tests that go through the real Snakefile."""

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import forks

ROOT = Path(__file__).parents[1]
PARTS = ("softmax_rewards", "workflow", "notebooks", "profiles", "config", "tests/smoke")
FILES = ("Snakefile", "environment.yml", "docs/analysis-plan.md")
# Word of a command line → kind of process.
KINDS = {
    "snakemake": "main",
    "workflow/scripts/train.py": "train",
    "workflow/scripts/evaluate.py": "evaluate",
    "workflow/scripts/aggregate.py": "aggregate",
    "workflow/scripts/report_pages.py": "pages",
}
NOTEBOOKS = len(list((ROOT / "notebooks").glob("*.ipynb")))


class Repository:
    """A copy of the repository in which Snakemake runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, folder / file)
        (folder / "config/config.yaml").write_text("experiments: [tests/smoke/smoke.yaml]\n")

    def copy(self, folder: Path) -> Self:
        """This repository in another folder, with all that was made in it."""
        twin = copy.copy(self)
        twin.folder = folder
        shutil.copytree(self.folder, folder)
        return twin

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]

    def environment(self) -> dict[str, str]:
        # PYTHONPATH: jobs import this copy of the library, not the installed one.
        return {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        command = self.command(*arguments)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=self.environment())

    def snakemake_forked(self, *arguments: str) -> subprocess.CompletedProcess:
        """The same in a process that has imported Snakemake already: for what begins no job."""
        return forks.snakemake(self.folder, ["--cores", "2", *arguments], self.environment())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Snakemake in a process group of its own; what it and its jobs say is added to `said`."""
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder,
                env=self.environment() | environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background jobs ignore Control-C.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8", errors="replace")

    def processes(self) -> dict[int, str]:
        """Live processes that work here, the shells between them aside: number → one of `KINDS`."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                here = (process / "cwd").readlink() == self.folder
                words = (process / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            except OSError:  # it ended meanwhile
                continue
            if here and (kinds := [KINDS[word] for word in words if word in KINDS]):
                found[int(process.name)] = kinds[0]
        return found

    def planned(self) -> Counter:
        """What `snakemake` would do now: (rule, ablation, seed) → jobs; "" where a rule has none."""
        done = self.snakemake_forked("--dry-run", "--quiet", "host")
        assert done.returncode == 0, done.stderr
        text = done.stdout + done.stderr
        jobs: Counter = Counter()
        for block in re.split(r"\n(?=rule )", text)[1:]:
            rule = block[5 : block.index(":")]
            found = dict(re.findall(r"(ablation|seed)=([^,\s]+)", block))
            jobs[rule, found.get("ablation", ""), found.get("seed", "")] += rule != "all"
        return +jobs

    def edited(self, file: str, change: Callable[[str], str]) -> Counter:
        """What `snakemake` would do after a change of a file, which is then taken back."""
        path = self.folder / file
        before = path.read_text(encoding="utf-8")
        try:
            path.write_text(change(before), encoding="utf-8")
            assert path.read_text(encoding="utf-8") != before
            return self.planned()
        finally:
            path.write_text(before, encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def wait_until(happened: Callable[[], object], patience: float = 600) -> None:
    end = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < end, f"not within {patience} s"
        time.sleep(0.02)
