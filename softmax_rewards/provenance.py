"""Provenance: which code and which settings made a file.

The fingerprint of a script is a hash over the syntax trees, docstrings dropped, of every module of this
package that the script reaches by static imports, and of the plugin modules (schemes, tasks, sources) it was
told to use. So a comment changes nothing, and a scheme's file concerns only the runs that use the scheme.
"""

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "torch", "tokenizers", "safetensors")


def fingerprint(script: Path, plugins: Sequence[str] = ()) -> str:
    """Hash of the code behind `script`, 16 hexadecimal digits, the same on every Python version.

    Args:
        script: a Python file (a script of the workflow, a module of the package) or a notebook.
        plugins: modules loaded by name at run time, such as "weighting.softmax" or "tasks.countdown".

    Errors: `FileNotFoundError` for a script or plugin that is not there.
    """
    return _fingerprint(Path(script).resolve(), tuple(sorted(set(plugins))))


@functools.cache
def _fingerprint(script: Path, plugins: tuple[str, ...]) -> str:
    parts = {name: _shape(path) for name, path in closure(script, plugins).items()}
    return _digest({"script": _shape(script), "modules": parts})


def closure(script: Path, plugins: Iterable[str] = ()) -> dict[str, Path]:
    """The package's modules that `script` and the named plugins reach by static imports, dotted name → file.

    Imports inside functions count. Modules found by name at run time do not, unless `plugins` names them.
    """
    found: dict[str, Path] = {}
    pending = [*imports(Path(script).resolve()), *(f"{PACKAGE.name}.{plugin}" for plugin in plugins)]
    missing = [f"{PACKAGE.name}.{plugin}" for plugin in plugins if _file(f"{PACKAGE.name}.{plugin}") is None]
    if missing:
        raise FileNotFoundError(f"no module {missing[0]}")
    while pending:
        name = pending.pop()
        path = _file(name)
        if path is None or name in found:
            continue
        found[name] = path
        pending.extend(imports(path))
        pending.extend(name[:index] for index, letter in enumerate(name) if letter == ".")
    return dict(sorted(found.items()))


def run_plugins(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """The plugin modules behind each stage of a resolved run (`config.Run.to_dict()`)."""
    task, source = f"tasks.{run['task']['name']}", f"sources.{run['model']['source']}"
    return {
        "dataset": [task],
        "base": [task, source],
        "train": [task, f"weighting.{run['weighting']['scheme']}"],
        "evaluate": [task],
    }


def run_code(run: Mapping[str, Any]) -> dict[str, str]:
    """Code fingerprint of each stage behind a run's training, and of the trainer without the scheme."""
    entry = {
        "dataset": "dataset.py",
        "base": "sources/__init__.py",
        "train": "trainer.py",
    }
    plugins = run_plugins(run)
    code = {stage: fingerprint(PACKAGE / entry[stage], plugins[stage]) for stage in entry}
    return code | {"trainer": fingerprint(PACKAGE / entry["train"], plugins["dataset"])}


def run_fingerprint(run: Mapping[str, Any]) -> str:
    """What a run's files depend on: its settings and the code of every stage behind it."""
    return _digest({"run": run, "code": run_code(run)})


def evaluation_fingerprint(run: Mapping[str, Any]) -> str:
    """The code that judged the run's final model."""
    return fingerprint(PACKAGE / "evaluate.py", run_plugins(run)["evaluate"])


def run_record(run: Mapping[str, Any], *, data: str, base: str, device: str) -> dict[str, Any]:
    """The content of `run.json`.

    Args:
        run: the resolved run, `config.Run.to_dict()`.
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


@functools.cache
def _tree(path: Path) -> ast.Module:
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
    for node in ast.walk(_tree(path)):
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
def _shape(path: Path) -> str:
    """Hash of a file's syntax without docstrings, positions and empty fields (these vary between Pythons)."""
    return hashlib.sha256(_text(_tree(path)).encode()).hexdigest()


def _text(node: Any) -> str:
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list):
            value = [item for item in value if not _is_docstring(item)]
        if value is not None and value != []:
            fields.append(f"{name}={_text(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _is_docstring(node: ast.AST) -> bool:
    """A string standing alone as a statement: it has no effect, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
