"""Provenance: which code and which settings made a file.

There are two fingerprints of code. Both hash syntax trees, so comments and docstrings change nothing:

* `fingerprint(script)` covers every module that a script reaches by imports. Cheap stages (tables, pages) run again
  when any of these modules changes.
* `run_code(run)` covers only the modules that decide a run's numbers (`COUNTED`). It ignores error messages and log
  lines. Training takes hours, so a changed message or status page must not start it again.

The file of a scheme, task, model source or sampler counts only for runs whose settings name it.
"""

import ast
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from softmax_rewards.common import environment, files, plugins, source_cache

PACKAGE = Path(__file__).resolve().parents[1]

COUNTED = (
    "common.randomness",
    "data",
    "models",
    "policy",
    "training.base_evaluation",
    "training.coverage",
    "training.evaluate",
    "training.search_counts",
    "training.step",
    "training.warm_start",
    "weighting",
)
"""Modules, and packages with all their modules, that decide the numbers of a run.

The others read settings, write files or print messages. The loop in `training.trainer` is one of the others: it only
calls the functions of `training.step`.
"""

ENTRY = {
    "dataset": "data/dataset.py",
    "base": "training/base_model.py",
    "base_evaluation": "training/base_evaluation.py",
    "train": "training/trainer.py",
    "evaluate": "training/evaluate.py",
}
"""Stage of a run → the file where the search for its code begins."""


def fingerprint(script: Path, modules: Sequence[str] = ()) -> str:
    """Hash of `script` and of all modules of this package that it imports, directly or through others.

    The hash has 16 hexadecimal digits. It does not depend on the Python version.

    Args:
        script: a Python file (a script of the workflow, a module of the package) or a notebook.
        modules: dotted names of the plug-ins that it loads by name at run time.

    Raises FileNotFoundError for a script or module that does not exist.
    """
    return _fingerprint(Path(script).resolve(), tuple(sorted(set(modules))), False)


@functools.cache
def _fingerprint(script: Path, modules: tuple[str, ...], counted_only: bool) -> str:
    reached = closure(script, modules, counts if counted_only else lambda name: True)
    if counted_only:
        return _digest({name: read(path).numbers for name, path in reached.items()})
    # A script outside the package has no module name, so `closure` does not list the script itself.
    return _digest({"script": read(script).code, "modules": {name: read(path).code for name, path in reached.items()}})


def counts(name: str) -> bool:
    """Whether the module `name` (dotted, with the package) decides the numbers of a run."""
    return any(f"{name}.".startswith(f"{PACKAGE.name}.{counted}.") for counted in COUNTED)


def closure(
    script: Path, modules: Iterable[str] = (), follow: Callable[[str], bool] = lambda name: True
) -> dict[str, Path]:
    """The modules of this package that `script` and `modules` reach by `import` statements: dotted name → file.

    Imports inside functions count. Modules that are loaded by name at run time are not found: the caller lists them in
    `modules`. A module for which `follow` returns False is left out, and its imports are not followed.

    Raises FileNotFoundError for a name in `modules` without a file.
    """
    reached: dict[str, Path] = {}
    seen: set[str] = set()
    pending = [*read(Path(script).resolve()).imports, *modules]
    if follow(entry := _name(Path(script).resolve())):
        pending.append(entry)
    missing = [name for name in modules if _file(name) is None]
    if missing:
        raise FileNotFoundError(f"no module {missing[0]}")
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(name)
        if path is None or not follow(name):
            continue
        reached[name] = path
        pending.extend(read(path).imports)
        # To import a module, Python first runs the `__init__.py` of each package around it.
        pending.extend(name[:index] for index, letter in enumerate(name) if letter == ".")
    return dict(sorted(reached.items()))


def run_plugins(run: Mapping[str, Any]) -> dict[str, list[str]]:
    """The plug-in modules that each stage of a resolved run (`config.run.Run.to_dict()`) loads, as dotted names."""
    task, source = f"{plugins.TASKS}.{run['task']['name']}", f"{plugins.SOURCES}.{run['model']['source']}"
    return {
        "dataset": [task],
        "base": [task, source],
        "train": [task, f"{plugins.SCHEMES}.{run['weighting']['scheme']}", *_sampler(run)],
        "evaluate": [task],
        "base_evaluation": [task],
    }


def _sampler(run: Mapping[str, Any]) -> list[str]:
    """The plug-in module that samples the answers of a resolved run; none if the project's own decoder does."""
    # `to_dict` leaves the key out where it has its default, `native`.
    name = run["training"].get("sampler")
    return [] if name is None else [f"{plugins.SAMPLERS}.{name}"]


def stage_code(stage: str, modules: Sequence[str]) -> str:
    """Hash of the code that decides the numbers of a stage (a key of `ENTRY`) with the given plug-in modules."""
    return _fingerprint(PACKAGE / ENTRY[stage], tuple(sorted(set(modules))), True)


def run_code(run: Mapping[str, Any]) -> dict[str, str]:
    """Code fingerprints of a run.

    They are "dataset", "base" and "train"; "trainer", which is "train" without the files of scheme and sampler; and
    "sampler", which is "trainer" with the sampler's file, if the run names a sampler.
    """
    modules = run_plugins(run)
    code = {stage: stage_code(stage, modules[stage]) for stage in ("dataset", "base", "train")}
    # Runs of two schemes may be compared only if the rest of their training code is the same (`verdicts/finished.py`).
    # So may those of two samplers. `modules["dataset"]` lists the task alone.
    code["trainer"] = stage_code("train", modules["dataset"])
    if sampler := _sampler(run):
        code["sampler"] = stage_code("train", modules["dataset"] + sampler)
    return code


def run_fingerprint(run: Mapping[str, Any]) -> str:
    """Hash of a run's settings and of the code of every stage up to its training. A change starts the run again."""
    return _digest({"run": run, "code": run_code(run)})


def evaluation_fingerprint(run: Mapping[str, Any]) -> str:
    """Hash of the code that evaluates the run's final model."""
    return stage_code("evaluate", run_plugins(run)["evaluate"])


def run_record(run: Mapping[str, Any], *, data: str, base: str, device: str) -> dict[str, Any]:
    """The content of `run.json`; the trainer adds a few keys.

    Args:
        run: the resolved run, `config.run.Run.to_dict()`.
        data: sha256 from the manifest of the data set.
        base: sha256 from the manifest of the base model.
        device: the training device, as `models.checkpoint.device_name` names it.
    """
    code = run_code(run)
    return {
        "ablation": run["ablation"],
        "seed": run["seed"],
        "config": dict(run),
        "fingerprint": run_fingerprint(run),
        "code": code["train"],
        "trainer": code["trainer"],
        **{key: code[key] for key in ("sampler",) if key in code},
        "data": data,
        "base": base,
        "device": device,
        **environment.described(),
    }


def plan_hashes(plan: Path, predictions: Path) -> dict[str, str | None]:
    """The sha256 of the analysis plan and of the predictions, as a run records them when it starts.

    A file that does not exist has None. The hashes are no part of a fingerprint: a new plan makes no run again.
    """
    return {
        name: files.sha256(file) if file.is_file() else None
        for name, file in (("plan", plan), ("predictions", predictions))
    }


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(name: str) -> Path | None:
    """The file of the module with this dotted name. None for other names, such as a function of a module."""
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


class Parsed(NamedTuple):
    """The imports of a file and its two hashes."""

    imports: tuple[str, ...]
    """Every dotted name that the file imports. `from a import b` gives a and a.b, because b may be a module."""
    code: str
    """Hash of the file's syntax, without docstrings and without descriptions of options."""
    numbers: str
    """Like `code`, but also without log lines and error messages. "" if the module decides no numbers (`counts`)."""


@functools.cache
def read(path: Path) -> Parsed:
    """Parse a Python file, or the code cells of a notebook."""
    name = _name(path)
    if not name:  # a script or a notebook
        return _parsed(path)
    version = f"{name} {counts(name)} {files.sha256(Path(__file__))}"
    value = source_cache.cached(path, version, lambda: _parsed(path)._asdict())
    return Parsed(tuple(value["imports"]), value["code"], value["numbers"])


def _parsed(path: Path) -> Parsed:
    tree = _parse(path)
    nodes = list(ast.walk(tree))
    names = _imports(path, nodes)
    # Nodes are removed from the tree's own lists. The tree is only hashed afterwards, so an empty body does no harm.
    blocks = [value for node in nodes for value in vars(node).values() if isinstance(value, list)]
    for block in blocks:
        block[:] = [node for node in block if not _is_documentation(node)]
    code = _hash(tree)
    if not counts(_name(path)):
        return Parsed(names, code, "")
    for block in blocks:
        block[:] = [node for node in block if not _is_log(node)]
    for node in nodes:
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func  # the error's class counts, its message does not
    return Parsed(names, code, _hash(tree))


def _imports(path: Path, nodes: Iterable[ast.AST]) -> tuple[str, ...]:
    names: list[str] = []
    for node in nodes:
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


def _is_documentation(node: ast.AST) -> bool:
    """Whether a node is only text for readers: a docstring, or the `description` in `Field(description="…")`."""
    if isinstance(node, ast.keyword):
        return node.arg == "description"
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def _is_log(node: ast.AST) -> bool:
    """Whether a statement is a call of `log`."""
    return isinstance(node, ast.Expr) and getattr(getattr(node.value, "func", None), "id", None) == "log"


def _hash(tree: ast.AST) -> str:
    # Python 3.13 leaves empty lists out of a dump. Earlier versions write them, and 3.12 has more of them than 3.11
    # (`type_params`).
    text = re.sub(r"(, )?\b\w+=\[\]", "", ast.dump(tree))
    return hashlib.sha256(text.encode()).hexdigest()
