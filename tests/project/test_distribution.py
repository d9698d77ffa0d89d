"""The wheel and the source distribution: built without network, and with everything that is needed at run time."""

import email
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "softmax_rewards"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = f"softmax_rewards-{PROJECT['version']}"
DOCUMENTS = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"}


def sources() -> set[str]:
    """Every file of the package, relative to the repository: modules and data files alike."""
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(ROOT).as_posix() for path in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Iterator[tuple[zipfile.ZipFile, tarfile.TarFile]]:
    """Both, built from a copy that also has a test, a kept run and a kept page."""
    folder = tmp_path_factory.mktemp("distribution")
    copy, out = folder / "copy", folder / "out"
    shutil.copytree(ROOT / PACKAGE, copy / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*DOCUMENTS, "MANIFEST.in", "pyproject.toml", "Snakefile"):
        shutil.copyfile(ROOT / name, copy / name)
    for name in ("tests/project/test_docs.py", "results/archive/x/runs.parquet", "docs/report/x/index.html"):
        (copy / name).parent.mkdir(parents=True)
        (copy / name).touch()
    out.mkdir()
    for kind in ("wheel", "sdist"):
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {f"{BASE}-py3-none-any.whl", f"{BASE}.tar.gz"}
    with zipfile.ZipFile(out / f"{BASE}-py3-none-any.whl") as wheel, tarfile.open(out / f"{BASE}.tar.gz") as archive:
        yield wheel, archive


def test_the_wheel_holds_the_whole_package_and_nothing_else(built):
    wheel, _ = built
    packaged = {name for name in wheel.namelist() if not name.startswith(f"{BASE}.dist-info/")}
    assert packaged == sources()
    assert {f"{PACKAGE}/py.typed", f"{PACKAGE}/data/tasks/countdown.py"} <= packaged


def test_the_wheel_carries_license_command_and_metadata(built):
    wheel, _ = built
    info = f"{BASE}.dist-info"
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert wheel.read(f"{info}/entry_points.txt").decode().split() == [
        "[console_scripts]", "softmax-rewards", "=", "softmax_rewards.__main__:main"
    ]  # fmt: skip
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == PROJECT["requires-python"]


def test_the_source_distribution_is_the_package_and_its_documents(built):
    _, archive = built
    files = {member.name.removeprefix(f"{BASE}/") for member in archive.getmembers() if member.isfile()}
    made = {name for name in files if name.startswith("softmax_rewards.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert files - made == sources() | DOCUMENTS | {"MANIFEST.in", "pyproject.toml"}
