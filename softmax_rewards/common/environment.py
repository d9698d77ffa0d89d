"""The environment of a run: versions of libraries, machine, and the code's git revision."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "torch", "tokenizers", "safetensors")


def described() -> dict[str, Any]:
    """Versions, platform, processor and git revision.

    The revision ends with "+dirty" if tracked files have uncommitted changes. It is None outside a git checkout.
    """
    return {
        "versions": {name: metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "revision": _revision(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _revision() -> str | None:
    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return f"{commit}+dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
