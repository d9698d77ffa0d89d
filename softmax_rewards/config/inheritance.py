"""Inheritance: an experiment file may extend another one, which it names with the key `extends`."""

import functools
from pathlib import Path
from typing import Any

from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError
from softmax_rewards.config.strict import read

INHERIT = "extends"


def project_folder() -> Path:
    """The folder of the project's own experiments."""
    # The pipeline runs at the root of a repository, perhaps a copy of this one: its experiments are used. In another
    # folder, as in a notebook, the experiments of the library's own repository are used.
    here = Path("config/experiments")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / here


def read_merged(path: Path) -> tuple[dict[str, Any], Path | None]:
    """The keys of an experiment file, merged into those of the file that it extends; that file, if any.

    Errors: `ConfigError`, one line that may begin with a file.
    """
    chain, layers = [path], [read(path)]  # the file itself, what it extends, what that extends …
    while (name := layers[-1].pop(INHERIT, None)) is not None:
        files = _extendable(chain[-1])
        source = files.get(str(name))
        if source is None:
            others = sorted(other for other, file in files.items() if not _among(chain, file))
            raise ConfigError(f"{chain[-1]}: {INHERIT}: {plugins.unknown('experiment', name, others)}")
        if _among(chain, source):
            names = " → ".join(file.stem for file in [*chain, source])
            raise ConfigError(
                f"{INHERIT}: {names} goes round in a circle; allowed: files that do not extend each other"
            )
        chain.append(source)
        layers.append(read(source))
    return functools.reduce(_merge, reversed(layers)), chain[1] if len(chain) > 1 else None


def _extendable(path: Path) -> dict[str, Path]:
    """Name → file of the experiments that the file `path` may extend."""
    folders = (path.parent, project_folder())
    beside, of_project = ({file.stem: file for file in folder.glob("*.yaml")} for folder in folders)
    if path.stem in of_project:
        beside.pop(path.stem, None)  # so that a copy may extend the experiment whose name it has
    return of_project | beside


def _among(files: list[Path], file: Path) -> bool:
    """Whether `file` is one of `files`, even if its path is written differently."""
    return file.absolute() in [other.absolute() for other in files]


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result
