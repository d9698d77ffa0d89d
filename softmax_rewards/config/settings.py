"""Settings: `config/config.yaml`, checked, with the experiments that it names."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError, wrong
from softmax_rewards.common.options import Listed, option_class
from softmax_rewards.config import experiments, local_model
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.inheritance import project_folder
from softmax_rewards.config.strict import build


@option_class("")
class Settings:
    """`config/config.yaml`: what runs, and where its files lie (relative to the repository)."""

    experiments: Listed[str] = Field(
        default=("countdown-mini",),
        description="Names of files in `config/experiments/`, or paths of other YAML files.",
    )
    results: str = Field(default="results", description="Folder of everything that depends on an experiment.")
    data: str = Field(default="data", description="Folder of puzzles and base models. Experiments share them.")
    archived_only: bool = Field(
        default=False,
        description="Train nothing, and report only on the runs in the experiments' archives, whichever version of the "
        "code made them. An experiment that names no archive has `results/archive/<experiment>`.",
    )


def load(values: Mapping[str, Any], file: str) -> tuple[Settings, dict[str, Experiment]]:
    """Check `config/config.yaml` and load its experiments, keyed by name.

    An entry of `experiments` is a name (`config/experiments/<name>.yaml`) or the path of a YAML file.
    """
    try:
        chosen = build(Settings, values, "")
        if not chosen.experiments:
            raise wrong("experiments", [], "at least one experiment")
        for key in ("results", "data"):
            folder = getattr(chosen, key)
            if set(folder) & set("{}"):  # Snakemake would take it for a pattern
                raise wrong(key, folder, "a folder without { and } in its path")
            _refuse_unwritable(Path(folder), key)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    project = project_folder()
    loaded: dict[str, Experiment] = {}
    for entry in chosen.experiments:
        path = Path(entry) if entry.endswith((".yaml", ".yml")) else project / f"{entry}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in project.glob("*.yaml"))
            message = plugins.unknown("experiment", entry, known)
            raise ConfigError(f"{file}: experiments: {message}, or the path of a YAML file")
        if path.stem in loaded:
            raise ConfigError(f"{file}: experiments: {path.stem!r} is given twice; allowed: each name once")
        experiment = experiments.load(path)
        _check_model(experiment.model, path)
        if chosen.archived_only and experiment.archive is None:  # it trains anew by default, but its runs may be kept
            experiment = replace(experiment, archive=f"{experiments.ARCHIVES}/{path.stem}")
        loaded[path.stem] = experiment
    return chosen, loaded


def _check_model(model: Mapping[str, Any], file: Path) -> None:
    """Look at the folder of a local model. One that is not there yet may be made by an earlier job."""
    if model["source"] == "local" and Path(model["path"]).exists():
        try:
            local_model.check(Path(model["path"]))
        except ValueError as error:
            raise ConfigError(f"{file}: {error}") from None


def _refuse_unwritable(folder: Path, key: str) -> None:
    nearest = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    try:
        # Only a trial is certain: permission bits do not count for root, or on a read-only file system.
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        allowed = "a folder that can be written, or made"
        raise ConfigError(f"{key}: {folder} cannot be written ({error.strerror}); allowed: {allowed}") from None
