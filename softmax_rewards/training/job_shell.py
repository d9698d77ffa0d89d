"""The shell of a job: which Python it calls, and what all jobs of the workflow find in their environment."""

import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

CACHES = {"XDG_CACHE_HOME": ".cache", "MPLCONFIGDIR": ".config/matplotlib"}
"""Variable that names the folder of a cache → where that folder is in the user's home without the variable."""


def prefix(python: str) -> str:
    """What Snakemake puts before the command of every job: there `python` is the interpreter with this path.

    The rules themselves name no path, so that nothing runs again in another environment. Snakemake takes the text for
    a template, where a brace is written twice.
    """
    quoted = shlex.quote(python).replace("{", "{{").replace("}", "}}")
    # The first part is Snakemake's own prefix, which this one replaces.
    return f'set -euo pipefail; python() {{{{ {quoted} "$@"; }}}}; '


def environment(inherited: Mapping[str, str], work: Path) -> dict[str, str]:
    """The variables that jobs need besides the `inherited` ones; `work` is a folder that can be written."""
    # Written as `encoding:errors`: a log takes any text, whatever its encoding is.
    variables = {"PYTHONIOENCODING": inherited.get("PYTHONIOENCODING", "").partition(":")[0] + ":backslashreplace"}
    for name, usual in CACHES.items():
        if not _writable(Path(inherited.get(name) or Path(inherited.get("HOME", "/")) / usual)):
            # matplotlib and fontconfig would warn in every job, and matplotlib would look through all fonts again.
            variables[name] = str((work / usual).absolute())
    return variables


def _writable(folder: Path) -> bool:
    """Whether `folder` can be written, or made."""
    nearest = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()  # only a trial is certain: permission bits do not count for root
    except OSError:
        return False
    return True
