"""Samplers: what samples a run's answers while it trains (`training.sampler`).

The project's own decoder is `native`. Every other sampler is a file of `policy/samplers/`, called like the package that
it needs. It offers `build`, `version` and `ComparingUpdater`, and it is loaded only for runs that name it.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError
from softmax_rewards.config.run import Training

if TYPE_CHECKING:
    from softmax_rewards.policy.rollout import Sampler
    from softmax_rewards.policy.update import Updater

NATIVE = "native"


def check(settings: Training) -> None:
    """Raise ConfigError, one line, unless the package of the sampler is installed. Nothing is imported."""
    name = settings.sampler
    if name != NATIVE and importlib.util.find_spec(name) is None:
        raise ConfigError(
            f"training.sampler: {name}: the package {name} is not installed for {sys.executable}; allowed: native, or "
            "install it (docs/vllm.md)"
        )


def chosen(settings: Training, base: Path, native: "Sampler") -> "tuple[Sampler, type[Updater]]":
    """The run's sampler, made from the `native` one and the model in `base`, and the updater that belongs to it.

    Raises ValueError, one line, if the sampler is not installed or does not start.
    """
    if settings.sampler == NATIVE:
        from softmax_rewards.policy.update import Updater

        return native, Updater
    module = _plugin(settings)
    return module.build(native, base, settings), module.ComparingUpdater


def versions(settings: Training) -> dict[str, str]:
    """The version of the sampler's package, for the run's record. The project's own decoder has none."""
    return {} if settings.sampler == NATIVE else {settings.sampler: _plugin(settings).version()}


def _plugin(settings: Training) -> ModuleType:
    check(settings)
    return plugins.load(plugins.SAMPLERS, settings.sampler, "sampler")
