"""A copy of the repository in which Snakemake runs: for the tests that go through the real Snakefile."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("softmax_rewards", "workflow", "notebooks", "profiles", "config", "tests/smoke")
FILES = ("Snakefile", "environment.yml", "docs/analysis-plan.md")
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

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        # PYTHONPATH: jobs and kernels import this copy of the library, not the installed one.
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment)

    def planned(self) -> Counter:
        """What `snakemake` would do now: (rule, ablation, seed) → jobs; "" where a rule has none."""
        done = self.snakemake("--dry-run", "--quiet", "host")
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
