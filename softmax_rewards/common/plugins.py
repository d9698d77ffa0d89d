"""Plug-ins: the modules of a package, found by listing its folder.

A weighting scheme, a task, a model source or a sampler is one file in its package; its name in a config is the file's
name. There is no registry to edit. Modules beginning with "_" are private helpers and are never offered.
"""

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from types import ModuleType

TASKS = "softmax_rewards.data.tasks"
SOURCES = "softmax_rewards.models.sources"
SCHEMES = "softmax_rewards.weighting.schemes"
SAMPLERS = "softmax_rewards.policy.samplers"


def names(package: str) -> list[str]:
    """Sorted names of the public modules of `package` (dotted name); none of them is imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"{package!r} is not a package")
    modules = pkgutil.iter_modules(spec.submodule_search_locations)
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def load(package: str, name: str, kind: str = "module") -> ModuleType:
    """Import the module `name` of `package`.

    `kind` is the word for it in the error message ("scheme", "task").
    Raises ValueError, with the nearest and all allowed names, unless `names(package)` contains `name`; so a
    name from a config can never reach outside the package.
    """
    allowed = names(package)
    if name not in allowed:
        raise ValueError(unknown(kind, name, allowed))
    return importlib.import_module(f"{package}.{name}")


def unknown(kind: str, name: object, allowed: Iterable[str]) -> str:
    """One line saying that `name` is no `kind`, which allowed name is nearest, and what is allowed."""
    allowed = list(allowed)
    return f"unknown {kind} {name!r}{nearest(name, allowed)}; allowed: {', '.join(allowed) or 'none'}"


def nearest(name: object, allowed: Iterable[str]) -> str:
    """A hint at the allowed name that is most like `name`, with a space before it; "" if none is alike."""
    found = difflib.get_close_matches(str(name), list(allowed), n=1)
    return f" (nearest: {found[0]!r})" if found else ""
