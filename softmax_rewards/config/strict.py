"""Strict reading: YAML files become mappings, mappings become checked objects, and every error is one line.

Each message names the dotted key, the value and what is allowed. The caller puts the file in front.
"""

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml

from softmax_rewards.common import options
from softmax_rewards.common.option_errors import ConfigError, dotted
from softmax_rewards.config.renamed import RENAMED

T = TypeVar("T")

LARGEST = 10**6  # bytes of a file


def read(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Each key must be text and may stand once. `4e-4` is a number, as in YAML 1.2."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ConfigError(f"{path}: {size} bytes; allowed: {LARGEST}, more than any experiment needs")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        value = _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: the file is {type(value).__name__}; allowed: a mapping of keys")
    return value


def value(text: str, where: str) -> Any:
    """One value, read as in a file. `where` is its key, for messages."""
    try:
        return _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def build(cls: type[T], values: Any, where: str) -> T:
    """`options.build`, which also says what an old key is called now."""
    return options.build(cls, values, where, RENAMED)


class _Loader(yaml.SafeLoader):
    """The safe loader, which also reads 4e-4 as a number. YAML 1.1 knows only 4.0e-4, and takes 4e-4 for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse(text: str) -> Any:
    """The value of a YAML document, None for an empty one."""
    try:
        loader = _Loader(text)
        loader.deep_construct = True  # so that PyYAML refuses an alias inside its own anchor
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(node, "", set())
        return loader.construct_document(node)
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError("nested too deeply; allowed: a few levels") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None
    except Exception as error:  # a value that contradicts its tag, such as a date in month 13
        raise ConfigError(f"not YAML: {type(error).__name__}: {' '.join(str(error).split())}") from None


def _check_keys(node: yaml.Node, where: str, seen: set[yaml.Node]) -> None:
    """Raise ConfigError for a key below `node` that is not text, or that stands twice in its mapping."""
    if node in seen:  # an alias leads here again
        return
    seen.add(node)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _check_keys(child, f"{where}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, child in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                raise ConfigError(f"{dotted(where, shown)}: the key is not text; allowed: text (quote it)")
            name, line = dotted(where, key.value), key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(f"{name}: given twice (lines {lines[key.value]} and {line}); allowed: each key once")
            lines[key.value] = line
            _check_keys(child, name, seen)
