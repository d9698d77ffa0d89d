"""Imports point one way, and the plug-ins are reached by name only."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from softmax_rewards import provenance

ROOT = Path(__file__).parents[1]
NAME = "softmax_rewards"

# Each group may use those before it, and none of those after it.
CHAINS = {
    "training": [
        {"devices", "files", "plugins", "progress", "provenance", "randomness", "stats", "temperature"},
        {"weighting", "tasks", "models"},
        {"config", "dataset", "objective", "sampling"},
        {"gradients", "rollout"},
        {"sources", "evaluate"},
        {"trainer"},
    ],
    "report": [{"stats", "weighting"}, {"analysis", "verdicts"}, {"aggregate"}, {"report"}],
    "figures": [{"stats"}, {"plots"}, {"report"}],
}
PLUGINS = ("weighting", "tasks", "sources")


def modules() -> dict[str, Path]:
    files = [file.relative_to(ROOT) for file in (ROOT / NAME).rglob("*.py")]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return {name: ROOT / file for name, file in zip(names, files, strict=True)}


MODULES = modules()


def top(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def reached(file: Path) -> set[str]:
    return {top(name) for name in provenance.closure(file)} - {""}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_reaches_a_later_layer(name):
    for chain in CHAINS.values():
        rank = next((index for index, group in enumerate(chain) if top(name) in group), None)
        if rank is not None:
            later = set().union(*chain[rank + 1 :])
            assert not reached(MODULES[name]) & later, f"{name} uses a later layer"


def test_there_is_no_cycle():
    graph: dict[str, set[str]] = {}
    for name, file in MODULES.items():
        used = {top(module) for module in provenance.imports(file) if module in MODULES}
        graph.setdefault(top(name), set()).update(used - {top(name), ""})
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_chains_name_modules_that_exist():
    named = set().union(*(group for chain in CHAINS.values() for group in chain))
    assert named <= {top(name) for name in MODULES}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_plugins_are_reached_by_name_only(name):
    """A scheme may build on another one; nothing else may import a scheme, a task or a source."""
    for package in PLUGINS:
        if top(name) != package:
            found = [m for m in provenance.closure(MODULES[name]) if m.startswith(f"{NAME}.{package}.")]
            assert not found, f"{name} imports {found}: load it by the name in the config"


def test_the_library_knows_nothing_of_the_workflow():
    for name, file in MODULES.items():
        roots = {module.split(".")[0] for module in provenance.imports(file)}
        assert not roots & {"snakemake", "workflow", "tests"}, name


def test_checking_a_config_does_not_import_torch(run_python):
    """The Snakefile does it at every call."""
    out = run_python(
        "import sys; from pathlib import Path; from softmax_rewards import config, provenance, archive;"
        "config.load(Path('config/experiments/countdown-mini-full.yaml'));"
        "print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    assert out.strip() == "set()"


@pytest.mark.parametrize("script", sorted((ROOT / "workflow" / "scripts").glob("*.py")), ids=lambda p: p.name)
def test_scripts_are_thin(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 40
    assert provenance.closure(script)


@pytest.fixture
def run_python():
    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    return run
