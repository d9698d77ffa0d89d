"""All pages of a report from one process: it imports the libraries once, and forks for each page.

The pages are made in a folder for work, and appear in the report when all of them are ready. The folder keeps them, so
that a page is only executed again if its notebook, its code, its parameters or a table changed. If a page fails, the
others wait there for the next start.
"""

import hashlib
import importlib
import json
import multiprocessing
import os
import threading
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from softmax_rewards.common import files, terminal
from softmax_rewards.report import pages

PRELOADED = ("pandas", "seaborn", "papermill", "nbconvert", "IPython")
"""What every page imports. Modules of this package are not among them: each page has only the code that it needs."""


def make(
    notebooks: Sequence[Path],
    parameters: Mapping[str, Any],
    code: Mapping[str, str],
    tables: Sequence[Path],
    report: Path,
    work: Path,
    processes: int,
) -> None:
    """Execute the notebooks whose page is not up to date; write every executed notebook and its page to `report`.

    Args:
        notebooks: the notebooks. A page has the name of its notebook.
        parameters: what every notebook is told.
        code: name of a page -> fingerprint of the code behind it.
        tables: the files that the notebooks read.
        report: the folder of the report.
        work: the folder for work. `made` in it keeps the pages, and a notebook whose cell failed stays beside that.
        processes: how many pages to make at the same time.

    Raises RuntimeError, one line that names every page that failed; then `report` is unchanged.
    """
    shared = [dict(parameters), {str(table): files.sha256(table) for table in sorted(tables)}]
    keys = {path: _key([*shared, code[path.stem], files.sha256(path)]) for path in notebooks}
    made = work / "made"
    outdated = [path for path, key in keys.items() if _read(made / f"{path.stem}.key") != key]
    if outdated:
        for name in PRELOADED:
            importlib.import_module(name)
        # Notebooks with much to do first, so that no process waits long for the last one.
        outdated.sort(key=lambda path: path.stat().st_size, reverse=True)
        _run([(path, dict(parameters), work, keys[path]) for path in outdated], processes)
    for path in notebooks:
        for suffix in (".ipynb", ".html"):
            _link(made / f"{path.stem}{suffix}", report / f"{path.stem}{suffix}")


def _key(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


def _link(source: Path, target: Path) -> None:
    """Let `source` appear as `target` too; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with files.appearing(target) as partial:
            partial.write_bytes(source.read_bytes())


def _run(jobs: Sequence[tuple[Path, dict[str, Any], Path, str]], processes: int) -> None:
    """Make one page per job in forked processes; RuntimeError if one fails, after the others have ended."""
    context = multiprocessing.get_context("fork")
    waiting, errors = list(jobs), []
    running: dict[Any, tuple[BaseProcess, Path]] = {}  # the end of a pipe -> who writes into the other end
    while waiting or running:
        while waiting and len(running) < processes:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_make, args=(theirs, *waiting[0]))
            process.start()
            theirs.close()
            running[ours] = process, waiting.pop(0)[0]
        for pipe in cast("list[Connection]", wait(list(running))):
            writer, path = running.pop(pipe)
            try:
                error = pipe.recv()
            except EOFError:  # killed before it could say anything
                error = f"{path}: its process ended before the page was made"
            writer.join()
            errors += [error] if error else []
    if errors:
        raise RuntimeError("; ".join(errors))


def _end_with_parent() -> None:
    """End this process when its parent is gone, so that a killed job leaves nobody at work."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _make(parent: Connection, notebook: Path, parameters: dict[str, Any], work: Path, key: str) -> None:
    """Make one page; send the parent its error, "" if there is none."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    terminal.log("report", notebook.stem)
    made, name = work / "made", notebook.stem
    try:
        (made / f"{name}.key").unlink(missing_ok=True)
        pages.execute(notebook, made / f"{name}.ipynb", made / f"{name}.html", parameters, work / f"{name}.ipynb")
        files.write_text(key, made / f"{name}.key")
    except Exception as error:
        traceback.print_exc()
        parent.send(str(error))
    else:
        parent.send("")
