"""Provenance: which code and which settings made a file.

Two fingerprints of code, both over syntax trees, so that comments and docstrings change nothing:

* `fingerprint(script)` covers every module that a script reaches by imports. Cheap stages (tables, pages) run again
  whenever any of it changes.
* `run_code(run)` covers only the modules that decide a run's numbers (`COUNTED`), and in them no error messages.
  Training takes hours: a new log line, status page or message must not repeat it.

A scheme's, task's or source's file concerns only the runs that name it.
"""

import ast
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from softmax_rewards.common import plugins

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "torch", "tokenizers", "safetensors")

COUNTED = (
    "common.randomness",
    "data",
    "models",
    "policy",
    "training.evaluate",
    "training.step",
    "training.warm_start",
    "weighting",
)
"""Rooms and modules that decide the numbers of a run. The others read settings, write files, or say something."""

ENTRY = {
    "dataset": "data/dataset.py",
    "base": "training/base_model.py",
    "train": "training/trainer.py",
    "evaluate": "training/evaluate.py",
}


def fingerprint(script: Path, modules: Sequence[str] = ()) -> str:
    """Hash of all code behind `script`, 16 hexadecimal digits, the same on every Python version.

    Args:
        script: a Python file (a script of the workflow, a module of the package) or a notebook.
        modules: dotted names of plug-ins that it loads by name at run time.

    Errors: `FileNotFoundError` for a script or module that is not there.
    """
    return _fingerprint(Path(script).resolve(), tuple(sorted(set(modules))), False)


@functools.cache
def _fingerprint(script: Path, modules: tuple[str, ...], counted_only: bool) -> str:
    reached = closure(script, modules, counts if counted_only else lambda name: True)
    parts = {name: _shape(path, messages=not counted_only) for name, path in reached.items()}
    return _digest(parts if counted_only else {"script": _shape(script), "modules": parts})


def counts(name: str) -> bool:
    """Whether the module `name` (dotted, with the package) decides numbers of a run."""
    return any(f"{name}.".startswith(f"{PACKAGE.name}.{counted}.") for counted in COUNTED)


def closure(
    script: Path, modules: Iterable[str] = (), follow: Callable[[str], bool] = lambda name: True
) -> dict[str, Path]:
    """The package's modules that `script` and the named `modules` reach by static imports, dotted name → file.

    Imports inside functions count. Modules found by name at run time do not, unless `modules` names them. Only modules
    that `follow` accepts are taken and searched for further imports.
    """
    files: dict[str, Path] = {}
    pending = [*imports(Path(script).resolve()), *modules]
    if follow(entry := _name(Path(script).resolve())):
        pending.append(entry)
    missing = [name for name in modules if _file(name) is None]
    if missing:
        raise FileNotFoundError(f"no module {missing[0]}")
    while pending:
        name = pending.pop()
        path = _file(name)
        if path is None or name in files or not follow(name):
            continue
        files[name] = path
        pending.extend(imports(path))
        pending.extend(name[:index] for index, letter in enumerate(name) if letter == ".")
    return dict(sorted(files.items()))


def run_plugins(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """The plug-in modules behind each stage of a resolved run (`config.run.Run.to_dict()`), dotted names."""
    task, source = f"{plugins.TASKS}.{run['task']['name']}", f"{plugins.SOURCES}.{run['model']['source']}"
    return {
        "dataset": [task],
        "base": [task, source],
        "train": [task, f"{plugins.SCHEMES}.{run['weighting']['scheme']}"],
        "evaluate": [task],
    }


def stage_code(stage: str, modules: Sequence[str]) -> str:
    """Hash of the code that decides the numbers of a stage (a key of `ENTRY`) with the given plug-in modules."""
    return _fingerprint(PACKAGE / ENTRY[stage], tuple(sorted(set(modules))), True)


def run_code(run: Mapping[str, Any]) -> dict[str, str]:
    """Code fingerprint of each stage behind a run's training, and of the trainer without the scheme."""
    modules = run_plugins(run)
    code = {stage: stage_code(stage, modules[stage]) for stage in ("dataset", "base", "train")}
    return code | {"trainer": stage_code("train", modules["dataset"])}


def run_fingerprint(run: Mapping[str, Any]) -> str:
    """What a run's files depend on: its settings and the code of every stage behind it."""
    return _digest({"run": run, "code": run_code(run)})


def evaluation_fingerprint(run: Mapping[str, Any]) -> str:
    """The code that judged the run's final model."""
    return stage_code("evaluate", run_plugins(run)["evaluate"])


def run_record(run: Mapping[str, Any], *, data: str, base: str, device: str) -> dict[str, Any]:
    """The content of `run.json`.

    Args:
        run: the resolved run, `config.run.Run.to_dict()`.
        data, base: sha256 from the manifests of the data set and of the base model.
        device: where it was trained, as the trainer names it.
    """
    code = run_code(run)
    return {
        "ablation": run["ablation"],
        "seed": run["seed"],
        "config": dict(run),
        "fingerprint": run_fingerprint(run),
        "code": code["train"],
        "trainer": code["trainer"],
        "data": data,
        "base": base,
        "device": device,
        **environment(),
    }


def environment() -> dict[str, Any]:
    """Versions, platform, processor and git revision ("+dirty" if tracked files differ; null outside git)."""
    return {
        "versions": {name: metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()},
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "revision": _revision(),
    }


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(name: str) -> Path | None:
    """The file of a dotted module name of this package; None for anything else, such as a function's name."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*rest)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _name(file: Path) -> str:
    """The dotted name of a module of this package; "" for a file outside it."""
    if PACKAGE not in file.parents:
        return ""
    return ".".join([PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def _parse(path: Path) -> ast.Module:
    """The syntax of a Python file, or of the code cells of a notebook."""
    if path.suffix != ".ipynb":
        return ast.parse(path.read_bytes(), filename=str(path))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ast.parse("\n".join(code), filename=str(path))


@functools.cache
def imports(path: Path) -> tuple[str, ...]:
    """Every dotted name that a file imports; of `from a import b` both a and a.b, since b may be a module."""
    names: list[str] = []
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(part for part in (_anchor(path, node.level), node.module) if part)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _anchor(path: Path, level: int) -> str:
    """The package that a relative import with `level` dots starts from; "" for an absolute import."""
    if level == 0 or PACKAGE not in path.parents:
        return ""
    folder = path.parents[level - 1]
    return ".".join([PACKAGE.name, *folder.relative_to(PACKAGE).parts])


@functools.cache
def _shape(path: Path, messages: bool = True) -> str:
    """Hash of a file's syntax without docstrings, and without the `messages` of errors if they do not count."""
    tree = _Stripped(messages).visit(_parse(path))
    # Python 3.13 leaves empty lists out; earlier versions write them, and which there are differs between versions.
    text = re.sub(r"(, )?\b\w+=\[\]", "", ast.dump(tree))
    return hashlib.sha256(text.encode()).hexdigest()


class _Stripped(ast.NodeTransformer):
    """Takes out of a syntax tree what computes nothing: docstrings, descriptions, and on request what errors say."""

    def __init__(self, messages: bool) -> None:
        self.messages = messages

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        logs = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", None) == "log"
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text or (logs and not self.messages) else self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        # What documentation says of an option: `Field(default=3, description="…")`.
        return None if node.arg == "description" else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if not self.messages and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _revision() -> str | None:
    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return f"{commit}+dirty" if commit and git("status", "--porcelain", "--untracked-files=no") else commit
