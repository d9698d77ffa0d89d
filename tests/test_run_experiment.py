"""An experiment named in words: the file that it stands for, and what is refused."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_pipeline import Repository

from softmax_rewards import config, cost, plugins, shorthand
from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape
from softmax_rewards.run import Evaluation, Training

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "config/experiments"
KNOWN = FOLDER / "countdown-qwen2.5-0.5b.yaml"


def made(ablations: str = "baseline,softmax", model: str = "mini", **more: object) -> tuple[str, dict]:
    return shorthand.experiment("countdown", ablations.split(","), model, folder=FOLDER, **more)


def test_the_file_is_what_the_words_stand_for(tmp_path):
    name, values = made(model="Qwen2.5-0.5B", seeds=["3", "1"], changes=["training.lr=1e-6"])
    path = shorthand.write(name, values, tmp_path)
    assert path == tmp_path / name / "adhoc-countdown-qwen2.5-0.5b-learning_rate-1e-06.yaml"
    experiment, known = config.load(path), config.load(KNOWN)
    assert (experiment.task, experiment.model, experiment.evaluation) == (known.task, known.model, known.evaluation)
    assert experiment.training == Training(**vars(known.training) | {"learning_rate": 1e-6})
    assert experiment.seeds == (3, 1) and experiment.baseline == "baseline"
    assert {arm: spec.weighting for arm, spec in experiment.ablations.items()} == {
        "baseline": {"scheme": "linear"},
        "softmax": {"scheme": "softmax", "tau": 0.5},
    }
    before = path.read_bytes()
    shorthand.write(*made(model="qwen2.5-0.5b", seeds=["3", "1"], changes=["lr=1e-6"]), tmp_path)
    assert path.read_bytes() == before


ARMS = {
    "baseline": {"scheme": "linear"},
    "linear": {"scheme": "linear"},
    "softmax": {"scheme": "softmax", "tau": 0.5},
    "softmax-0.25": {"scheme": "softmax", "tau": 0.25},
    "softmax-auto": {"scheme": "softmax", "tau": "auto"},
    "centred-0.5": {"scheme": "softmax_centered", "tau": 0.5},
    "centered": {"scheme": "softmax_centered", "tau": 0.5},
    "softmax_centered-1": {"scheme": "softmax_centered", "tau": 1.0},
    "softmax-scaled-2": {"scheme": "softmax_scaled", "tau": 2.0},
    "matched": {"scheme": "softmax_matched", "tau": 0.5},
    "anneal-0.75-0.25": {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 40}},
    "Best-Of-N": {"scheme": "best_of_n"},
    "passk": {"scheme": "passk", "k": 4},
}


@pytest.mark.parametrize("arm", ARMS)
def test_arms(arm):
    _, values = made(arm)
    experiment = config.check("trial", json.loads(json.dumps(values)))
    assert [spec.weighting for spec in experiment.ablations.values()] == [ARMS[arm]]
    assert experiment.baseline == arm.lower()


@pytest.mark.parametrize("scheme", plugins.names("softmax_rewards.weighting"))
def test_every_scheme_is_an_arm_by_its_own_name(scheme):
    for name in (scheme, scheme.replace("_", "-")):
        assert made(name)[1]["ablations"][name]["weighting"]["scheme"] == scheme


def test_an_annealed_arm_takes_half_the_steps():
    for steps, half in [(1, 1), (9, 4)]:
        _, values = made("anneal-1-0.3", changes=[f"training.steps={steps}"])
        assert values["ablations"]["anneal-1-0.3"]["weighting"]["tau"]["steps"] == half


def test_the_linear_arm_is_the_baseline_wherever_it_stands():
    assert made("softmax,linear")[1]["baseline"] == "linear"
    assert made("softmax,raft")[1]["baseline"] == "softmax"


@pytest.mark.parametrize(
    ("model", "section", "file"),
    [
        ("MINI", {"source": "mini"}, "countdown-mini"),
        ("smollm2", {"source": "smollm2"}, "countdown-smollm2"),
        ("Qwen2.5-3B-Instruct", {"source": "hub", "repository": "Qwen/Qwen2.5-3B-Instruct"}, "countdown-qwen2.5-3b"),
        ("qwen3-0.6b", {"source": "hub", "repository": "Qwen/Qwen3-0.6B"}, None),
        ("qwen2.5-3b", {"source": "hub", "repository": "Qwen/Qwen2.5-3B", "template": "base"}, None),
        ("random:Qwen2.5-0.5B", {"source": "random", "shape": "qwen2.5-0.5b"}, None),
    ],
)
def test_models(model, section, file):
    name, values = made(model=model)
    assert name == f"adhoc-countdown-{model.lower().replace(':', '-')}"
    assert values["model"].items() >= section.items()
    if file:
        settings = yaml.safe_load((FOLDER / f"{file}.yaml").read_text(encoding="utf-8"))
        assert values["training"].keys() == settings["training"].keys()
    else:
        assert values["training"]["precision"] == "bfloat16" and values["training"]["learning_rate"] == 1e-5


def test_a_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(catalogue.find("smollm2-135m-instruct").config))
    _, values = made(model=str(tmp_path))
    assert values["model"] == {"source": "local", "path": str(tmp_path)}
    assert values["training"]["learning_rate"] == 2e-5


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_every_known_model_fits_one_gpu(name):
    shape = Shape.from_config(catalogue.find(name).config)
    training = Training(**made(model=f"random:{name}")[1]["training"])
    evaluation = Evaluation(**shorthand.EVALUATION)
    assert cost.memory(shape, training, evaluation).peak <= shorthand.MEMORY
    # And nothing is given up for memory that is there.
    if training.rollout_rows < Training.rollout_rows:
        twice = dataclasses.replace(training, rollout_rows=2 * training.rollout_rows)
        assert cost.memory(shape, twice, evaluation).rollout > shorthand.MEMORY
    if training.gradient_checkpointing:
        without = dataclasses.replace(training, gradient_checkpointing=False, optimiser_state="device")
        assert cost.memory(shape, without, evaluation).update > shorthand.MEMORY
    assert (training.optimiser_state == "host") == name.startswith("qwen2.5-7b")


def test_changes_reach_any_section_and_are_named():
    changes = ["training.steps=5", "task.seed=7", "evaluation.puzzles=16", "evaluation.pass_puzzles=16"]
    name, values = made(changes=changes)
    assert (values["task"]["seed"], values["training"]["steps"], values["evaluation"]["puzzles"]) == (7, 5, 16)
    assert name == "adhoc-countdown-mini-evaluation.pass_puzzles-16-evaluation.puzzles-16-task.seed-7-steps-5"
    assert made(changes=changes[::-1])[0] == name
    long, _ = made(changes=[*changes, "training.clip_norm=0.5", "training.entropy_bonus=0.001"])
    assert len(long) == 100 and config.NAME.fullmatch(long)


def test_a_nested_key_is_set():
    _, values = made(model="smollm2", changes=["model.warm_start.lr=1e-4"])
    assert values["model"]["warm_start"]["learning_rate"] == 1e-4
    assert values["model"]["warm_start"]["steps"] == 300


WRONG = [
    ({"ablations": "baselin"}, ["unknown ablation 'baselin' (nearest: 'baseline')", "anneal-0.75-0.25", "uniform"]),
    ({"ablations": "softmax-0"}, ["unknown ablation 'softmax-0'"]),
    ({"ablations": "linear-0.5"}, ["unknown ablation 'linear-0.5'"]),
    ({"ablations": "anneal-1"}, ["unknown ablation 'anneal-1'"]),
    ({"ablations": "anneal-1-auto"}, ["unknown ablation 'anneal-1-auto'"]),
    ({"ablations": "softmax,softmax"}, ["'softmax' is given twice"]),
    ({"ablations": ""}, ["unknown ablation ''"]),
    ({"model": "qwen2.5-4b"}, ["unknown model 'qwen2.5-4b'", "qwen2.5-3b,", "mini, smollm2, random:"]),
    ({"model": "random:qwen"}, ["unknown model 'qwen'", "qwen2.5-0.5b"]),
    ({"model": "./nowhere"}, ["./nowhere/config.json", "a folder with a checkpoint"]),
    ({"seeds": ["one"]}, ["seeds: 'one'", "integers from 0 on"]),
    ({"seeds": ["1", "1"]}, ["seeds: [1, 1]", "each once"]),
    ({"changes": ["lrr=1"]}, ["set: 'lrr=1'", "training.<key>=<value>", "lr stands for learning_rate"]),
    ({"changes": ["training.lr"]}, ["set: 'training.lr'"]),
    ({"changes": ["training.lr=fast"]}, ['training.learning_rate: "fast"', "a number"]),
    ({"changes": ["training.stepz=1"]}, ["training.stepz: unknown key", "'steps'"]),
    ({"changes": ["task.name.x=1"]}, ["set: task.name.x: name has no keys of its own"]),
    ({"changes": ["evaluation.puzzles=9999"]}, ["evaluation.puzzles: 9999", "task.test"]),
    ({"changes": ["model.layers=[1"]}, ["'[1': not YAML"]),
]


@pytest.mark.parametrize(("given", "parts"), WRONG)
def test_wrong_words_are_refused_in_one_line(given, parts):
    with pytest.raises(ValueError) as error:
        made(**given)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_an_unknown_dataset():
    with pytest.raises(ValueError, match=r"^unknown dataset 'countdwn' \(nearest: 'countdown'\); allowed: countdown"):
        shorthand.experiment("countdwn", ["baseline"], "mini", folder=FOLDER)


def test_from_the_command_line(tmp_path):
    """The dry run of a large model: its file, its plan and what it would cost; nothing of that for a wrong word."""
    repository = Repository(tmp_path)
    (tmp_path / "run_experiment.py").write_bytes((ROOT / "run_experiment.py").read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "run_experiment.py", "--dataset", "countdown", *words]
        return subprocess.run(command, cwd=repository.folder, capture_output=True, text=True, env=environment)

    words = ["--ablations", "baseline,softmax", "--model", "Qwen2.5-0.5B", "--seeds", "0", "--dry-run"]
    done = run(*words, "--resources", "gpu=2", "--cores", "2", "--", "--quiet", "host")
    assert done.returncode == 0, done.stderr
    name = "adhoc-countdown-qwen2.5-0.5b"
    assert f"[estimate] {name}: 2 runs, each ≤ " in done.stderr
    assert done.stderr.count("[estimate]") == 1
    written = (tmp_path / "results" / name / f"{name}.yaml").read_text(encoding="utf-8")
    assert done.stdout.startswith(written)
    assert f"results/{name}/runs/softmax/seed-0/run.json" in done.stdout + done.stderr
    refused = run("--ablations", "baseline", "--model", "gpt2")
    assert refused.returncode == 1 and refused.stderr.startswith("unknown model 'gpt2'")
    assert len(refused.stderr.splitlines()) == 1


def test_the_script_is_thin():
    assert len((ROOT / "run_experiment.py").read_text(encoding="utf-8").splitlines()) <= 40
