"""Plug-ins are found by listing a folder and loaded by name, and nothing else can be reached that way."""

import sys

import pytest

from softmax_rewards.common import plugins


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "zoo_of_plugins"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("zebra", "ant", "_helper", "broken"):
        (folder / f"{name}.py").write_text("raise RuntimeError('imported')" if name == "broken" else "legs = 4")
    (folder / "notes.txt").write_text("no module")
    monkeypatch.syspath_prepend(tmp_path)
    yield "zoo_of_plugins"
    for module in [name for name in sys.modules if name.startswith("zoo_of_plugins")]:
        del sys.modules[module]


def test_lists_public_modules_sorted_without_importing_them(package):
    assert plugins.names(package) == ["ant", "broken", "zebra"]
    assert f"{package}.ant" not in sys.modules


def test_a_new_file_is_a_new_plugin(package, tmp_path):
    (tmp_path / package / "bee.py").write_text("legs = 6")
    assert plugins.load(package, "bee").legs == 6


def test_unknown_name_says_the_nearest_and_the_allowed(package):
    with pytest.raises(ValueError) as error:
        plugins.load(package, "zebar", "animal")
    assert str(error.value) == "unknown animal 'zebar' (nearest: 'zebra'); allowed: ant, broken, zebra"


def test_no_nearest_name_is_invented(package):
    with pytest.raises(ValueError, match=r"unknown module 'qqqq'; allowed: ant, broken, zebra"):
        plugins.load(package, "qqqq")


@pytest.mark.parametrize("name", ["_helper", "", "..os", "os", "ant.legs", "../ant", None, 3])
def test_only_listed_names_are_loaded(package, name):
    with pytest.raises(ValueError, match="unknown module"):
        plugins.load(package, name)


def test_an_error_inside_a_plugin_is_not_hidden(package):
    with pytest.raises(RuntimeError, match="imported"):
        plugins.load(package, "broken")


@pytest.mark.parametrize("name", ["no_such_package_anywhere", "math", "json.decoder"])
def test_not_a_package(name):
    with pytest.raises(ValueError, match="is not a package"):
        plugins.names(name)


def test_unknown_of_nothing_allowed():
    assert plugins.unknown("key", "x", []) == "unknown key 'x'; allowed: none"
