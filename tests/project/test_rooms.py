"""The rooms of the library: what each may import, and that plug-ins are reached by name only.

`pyproject.toml` has the same order for import-linter, which `make check` runs.
"""

import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from softmax_rewards.common import plugins, provenance

ROOT = Path(__file__).parents[2]
NAME = "softmax_rewards"
# Room → the rooms that it may import.
ROOMS = {
    "common": "",
    "data": "common",
    "weighting": "common",
    "models": "common",
    "config": "common weighting models",
    "policy": "common data models config",
    "verdicts": "common data weighting config",
    "training": "common data weighting models config policy",
    "report": "common weighting config verdicts",
    "integrations": "common weighting verdicts",
}
# Of some rooms only these parts.
PARTS = {
    ("config", "models"): {"shape", "catalogue"},
    ("policy", "config"): {"run"},
    ("verdicts", "config"): {"run", "renamed", "base_seeds", "base_settings"},
    ("verdicts", "data"): {"tasks"},
    ("report", "config"): {"documentation", "experiments"},
}
PLUGINS = (plugins.TASKS, plugins.SOURCES, plugins.SCHEMES, plugins.SAMPLERS)


def modules() -> dict[str, Path]:
    files = [file.relative_to(ROOT) for file in (ROOT / NAME).rglob("*.py")]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    return {name: ROOT / file for name, file in zip(names, files, strict=True)}


MODULES = modules()


def imported(name: str) -> set[str]:
    """The modules of the library that a module imports itself."""
    return {module for module in provenance.read(MODULES[name]).imports if module in MODULES} - {name, NAME}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_room_imports_only_rooms_to_its_left(name):
    own = room(name)
    for module in imported(name) if own not in ("", "__main__") else ():
        other = room(module)
        # The embedded model learns from a task's alphabet.
        allowed = ROOMS[own].split() + ["data"] * (name == f"{plugins.SOURCES}.mini")
        assert other in {own, *allowed}, f"{name} imports {module}"
        if (own, other) in PARTS and module.count(".") > 1:
            assert module.split(".")[2] in PARTS[own, other], f"{name} imports {module}"


def test_there_is_no_circle_among_modules():
    TopologicalSorter({name: imported(name) for name in MODULES}).prepare()  # raises CycleError


def test_import_linter_is_told_the_same_order():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    assert [layer.removeprefix(f"{NAME}.") for layer in reversed(layers)] == [*ROOMS, "__main__"]


def test_the_package_itself_holds_nothing_but_its_entry():
    assert {path.name for path in (ROOT / NAME).iterdir() if path.is_file()} == {
        "__init__.py", "__main__.py", "py.typed"
    }  # fmt: skip
    assert set(ROOMS) == {path.name for path in (ROOT / NAME).iterdir() if (path / "__init__.py").exists()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_plugins_are_reached_by_name_only(name):
    """A scheme may build on another one; nothing else may import a scheme, a task, a source or a sampler."""
    for package in PLUGINS:
        if not f"{name}.".startswith(f"{package}."):
            found = [module for module in imported(name) if module.startswith(f"{package}.")]
            assert not found, f"{name} imports {found}: load it by the name in the config"


def test_the_library_knows_nothing_of_the_workflow():
    for name, file in MODULES.items():
        roots = {module.split(".")[0] for module in provenance.read(file).imports}
        assert not roots & {"snakemake", "workflow", "tests"}, name


def test_verdicts_need_no_torch(run_python):
    out = run_python("import sys; from softmax_rewards.verdicts import aggregate; print('torch' in sys.modules)")
    assert out.strip() == "False"


def test_checking_a_config_does_not_import_torch(run_python):
    """The Snakefile does it at every call."""
    out = run_python(
        "import sys; from pathlib import Path; from softmax_rewards.common import provenance;"
        "from softmax_rewards.config import experiments; from softmax_rewards.verdicts import archive;"
        "experiments.load(Path('config/experiments/countdown-mini-full.yaml'));"
        "print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    assert out.strip() == "set()"


def test_a_trainer_that_only_needs_weights_does_not_import_pydantic(run_python):
    """TRL's trainer uses a scheme with a constant temperature; pydantic takes longer to load than the schemes."""
    out = run_python(
        "import sys; from softmax_rewards import weighting; from softmax_rewards.integrations import scheme;"
        "from softmax_rewards.weighting import temperature; temperature.resolve(0.5, 0, (0.0, 1.0));"
        "print('pydantic' in sys.modules)"
    )
    assert out.strip() == "False"


def test_a_training_job_does_not_wait_for_what_its_first_step_does_not_need(run_python):
    """Each of these modules takes between a tenth of a second and a second to load."""
    out = run_python(
        "import sys; import torch; from softmax_rewards.policy import optimizer;"
        "from softmax_rewards.training import evaluate, trainer, warm_start;"
        "from softmax_rewards.data.tasks import countdown, gsm8k, multiplication;"
        "model = torch.nn.Linear(2, 1); adamw = optimizer.build(model, 0.1, 'device');"
        "model(torch.ones(2)).backward(); adamw.step(1.0, torch.Generator());"
        "from softmax_rewards.models.prefix import backpropagate;"
        "backpropagate([model(torch.ones(2))], [torch.ones(1)]);"
        "print({'pandas', 'scipy', 'jinja2', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.distributed.tensor',"
        " 'torch.distributed.elastic', 'torch.utils.tensorboard', 'sympy'} & set(sys.modules))"
    )
    assert out.strip() == "set()"


@pytest.mark.parametrize("script", sorted((ROOT / "workflow" / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_thin(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 40
    assert provenance.closure(script)


@pytest.fixture
def run_python():
    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    return run
