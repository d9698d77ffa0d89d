"""An experiment named in words: the file that it stands for, and what is refused."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import Repository

from softmax_rewards.common import plugins
from softmax_rewards.config import cost, experiments, shorthand
from softmax_rewards.config.run import Evaluation, Training
from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config/experiments"
KNOWN = FOLDER / "countdown-qwen2.5-0.5b.yaml"


def made(ablations: str = "baseline,softmax", model: str = "mini", **more: object) -> tuple[str, dict]:
    return shorthand.experiment("countdown", ablations, model, folder=FOLDER, **more)


def readable(name: str) -> str:
    """An experiment's name without the hash at its end."""
    assert re.fullmatch("-[0-9a-f]{8}", name[-9:])
    return name[:-9]


def test_the_file_is_what_the_words_stand_for(tmp_path):
    name, values = made(model="Qwen2.5-0.5B", seeds="3, 1", changes=["training.lr=1e-6"])
    path = shorthand.write(name, values, tmp_path)
    assert path == tmp_path / name / f"{name}.yaml"
    assert readable(name) == "adhoc-countdown-qwen2.5-0.5b-learning_rate-1e-06"
    experiment, known = experiments.load(path), experiments.load(KNOWN)
    assert (experiment.task, experiment.model, experiment.evaluation) == (known.task, known.model, known.evaluation)
    assert experiment.training == Training(**vars(known.training) | {"learning_rate": 1e-6})
    assert experiment.seeds == (3, 1) and experiment.baseline == "baseline"
    assert {ablation: spec.weighting for ablation, spec in experiment.ablations.items()} == {
        "baseline": {"scheme": "linear"},
        "softmax": {"scheme": "softmax", "tau": 0.5},
    }
    before = path.read_bytes()
    shorthand.write(*made(model="qwen2.5-0.5b", seeds="3,1", changes=["lr=1e-6"]), tmp_path)
    assert path.read_bytes() == before


ABLATIONS = {
    "baseline": {"scheme": "linear"},
    "linear": {"scheme": "linear"},
    "softmax": {"scheme": "softmax", "tau": 0.5},
    "softmax-0.25": {"scheme": "softmax", "tau": 0.25},
    "softmax-1e-3": {"scheme": "softmax", "tau": 0.001},
    "softmax-.5": {"scheme": "softmax", "tau": 0.5},
    "softmax-auto": {"scheme": "softmax", "tau": "auto"},
    "centered-0.5": {"scheme": "softmax_centered", "tau": 0.5},
    "centered": {"scheme": "softmax_centered", "tau": 0.5},
    "softmax_centered-1": {"scheme": "softmax_centered", "tau": 1.0},
    "softmax-scaled-2": {"scheme": "softmax_scaled", "tau": 2.0},
    "matched": {"scheme": "softmax_matched", "tau": 0.5},
    "anneal-0.75-0.25": {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 40}},
    "anneal-1e-1-1e-2": {"scheme": "softmax", "tau": {"from": 0.1, "to": 0.01, "steps": 40}},
    "Best-Of-N": {"scheme": "best_of_n"},
    "passk": {"scheme": "passk", "k": 4},
}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_ablations(ablation):
    _, values = made(ablation)
    experiment = experiments.check("trial", json.loads(json.dumps(values)))
    assert [spec.weighting for spec in experiment.ablations.values()] == [ABLATIONS[ablation]]
    assert experiment.baseline == ablation.lower()


@pytest.mark.parametrize("scheme", plugins.names(plugins.SCHEMES))
def test_every_scheme_is_an_ablation_by_its_own_name(scheme):
    for name in (scheme, scheme.replace("_", "-")):
        assert made(name)[1]["ablations"][name]["weighting"]["scheme"] == scheme


def test_an_annealed_ablation_takes_half_the_steps():
    for steps, half in [(1, 1), (9, 4)]:
        _, values = made("anneal-1-0.3", changes=[f"training.steps={steps}"])
        assert values["ablations"]["anneal-1-0.3"]["weighting"]["tau"]["steps"] == half


def test_words_may_have_spaces_around_the_commas():
    _, values = made("baseline, softmax ,raft", seeds="0, 1")
    assert list(values["ablations"]) == ["baseline", "softmax", "raft"] and values["seeds"] == [0, 1]


def test_the_linear_ablation_is_the_baseline_wherever_it_stands():
    assert made("softmax,linear")[1]["baseline"] == "linear"
    assert made("softmax,raft")[1]["baseline"] == "softmax"


@pytest.mark.parametrize(
    ("model", "section", "file"),
    [
        ("MINI", {"source": "mini"}, "countdown-mini"),
        ("smollm2", {"source": "smollm2"}, "countdown-smollm2"),
        ("Qwen2.5-3B-Instruct", {"source": "hub", "repository": "Qwen/Qwen2.5-3B-Instruct"}, "countdown-qwen2.5-3b"),
        ("Qwen/Qwen2.5-0.5B", {"source": "hub", "repository": "Qwen/Qwen2.5-0.5B"}, "countdown-qwen2.5-0.5b"),
        ("qwen3-0.6b", {"source": "hub", "repository": "Qwen/Qwen3-0.6B"}, None),
        ("qwen2.5-3b", {"source": "hub", "repository": "Qwen/Qwen2.5-3B", "template": "base"}, None),
        ("random:Qwen2.5-0.5B", {"source": "random", "shape": "qwen2.5-0.5b"}, None),
    ],
)
def test_models(model, section, file):
    name, values = made(model=model)
    assert readable(name) == f"adhoc-countdown-{model.lower().removeprefix('qwen/').replace(':', '-')}"
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


def test_different_settings_are_different_experiments(tmp_path):
    """Also where the readable part of the name is the same; ablations and seeds are folders within an experiment."""
    for folder in ("a", "b"):
        (tmp_path / folder / "model").mkdir(parents=True)
        config_json = tmp_path / folder / "model/config.json"
        config_json.write_text(json.dumps(catalogue.find("smollm2-135m-instruct").config))
    names = [made(model=str(tmp_path / folder / "model"))[0] for folder in ("a", "b")]
    names += [made(changes=[f"task.operators={operators}"])[0] for operators in ("+-*", "+-*/")]
    assert len(set(map(readable, names))) == 2 and len(set(names)) == 4
    assert made(model="Qwen/Qwen2.5-0.5B")[0] == made(model="qwen2.5-0.5b")[0]
    assert made("raft", seeds="5")[0] == made("baseline,softmax")[0]


def test_models_without_a_file_of_their_own_get_the_same_puzzles(tmp_path):
    """The experiments with a model of the hub agree on them; random weights need no download."""
    files = [experiments.load(file) for file in sorted(FOLDER.glob("*.yaml"))]
    puzzles = [file.task for file in files if file.model["source"] == "hub"]
    (tmp_path / "config.json").write_text(json.dumps(catalogue.find("smollm2-135m-instruct").config))
    for model in ("qwen2.5-3b", "smollm2-135m-instruct", str(tmp_path)):
        puzzles.append(experiments.check("trial", made(model=model)[1]).task)
    assert len(puzzles) >= 5 and all(task == puzzles[0] for task in puzzles)
    assert made(model="random:qwen2.5-3b")[1]["task"] == {"name": "countdown"}


@pytest.mark.parametrize("name", catalogue.MODELS)
def test_every_known_model_fits_one_gpu(name):
    shape = Shape.from_config(catalogue.find(name).config)
    training = Training(**made(model=f"random:{name}")[1]["training"])
    evaluation = Evaluation(**shorthand.EVALUATION)
    assert cost.memory(shape, training, evaluation).peak <= shorthand.MEMORY
    # And nothing is given up for memory that is there.
    if training.rollout_batch_size < Training.rollout_batch_size:
        twice = dataclasses.replace(training, rollout_batch_size=2 * training.rollout_batch_size)
        assert cost.memory(shape, twice, evaluation).rollout > shorthand.MEMORY
    if training.gradient_checkpointing:
        without = dataclasses.replace(training, gradient_checkpointing=False, optimizer_state="device")
        assert cost.memory(shape, without, evaluation).update > shorthand.MEMORY
    assert (training.optimizer_state == "host") == name.startswith("qwen2.5-7b")


def test_changes_reach_any_section_and_are_named():
    changes = ["training.steps=5", "task.seed=7", "evaluation.puzzles=16", "evaluation.pass_puzzles=16"]
    name, values = made(changes=changes)
    assert (values["task"]["seed"], values["training"]["steps"], values["evaluation"]["puzzles"]) == (7, 5, 16)
    assert readable(name) == "adhoc-countdown-mini-evaluation.pass_puzzles-16-evaluation.puzzles-16-task.seed-7-steps-5"
    assert made(changes=changes[::-1])[0] == name
    assert readable(made()[0]) == "adhoc-countdown-mini"
    long, _ = made(changes=[*changes, "training.max_grad_norm=0.5", "training.entropy_coef=0.001"])
    assert len(long) == 100 and experiments.NAME.fullmatch(long)


def test_a_nested_key_is_set():
    _, values = made(model="smollm2", changes=["model.warm_start.learning_rate=1e-4"])
    assert values["model"]["warm_start"]["learning_rate"] == 1e-4
    assert values["model"]["warm_start"]["steps"] == 300


WRONG = [
    ({"ablations": "baselin"}, ["unknown ablation 'baselin' (nearest: 'baseline')", "anneal-0.75-0.25", "uniform"]),
    ({"ablations": "softmax-0"}, ["unknown ablation 'softmax-0'"]),
    ({"ablations": "linear-0.5"}, ["unknown ablation 'linear-0.5'"]),
    ({"ablations": "anneal-1"}, ["unknown ablation 'anneal-1'"]),
    ({"ablations": "anneal-1-auto"}, ["unknown ablation 'anneal-1-auto'"]),
    ({"ablations": "anneal-1-0"}, ["unknown ablation 'anneal-1-0'"]),
    ({"ablations": "softmax-1..5"}, ["unknown ablation 'softmax-1..5'"]),
    ({"ablations": "passk-4"}, ["unknown ablation 'passk-4'"]),
    (
        {"ablations": "softmax,softmax"},
        ["ablations: 'softmax' is the same ablation as 'softmax'; allowed: each ablation once"],
    ),
    ({"ablations": "Softmax,softmax"}, ["ablations: 'softmax' is the same ablation as 'softmax'"]),
    ({"ablations": "softmax,softmax-0.50"}, ["ablations: 'softmax-0.50' is the same ablation as 'softmax'"]),
    ({"ablations": "baseline,linear"}, ["ablations: 'linear' is the same ablation as 'baseline'"]),
    ({"ablations": "softmax,"}, ["unknown ablation ''"]),
    ({"ablations": ""}, ["unknown ablation ''"]),
    ({"model": "qwen2.5-4b"}, ["unknown model 'qwen2.5-4b'", "qwen2.5-3b,", "mini, smollm2, random:"]),
    ({"model": "random:qwen"}, ["unknown model 'qwen'", "qwen2.5-0.5b"]),
    ({"model": "./nowhere"}, ["model: unknown model './nowhere'", "a folder", "source: hub"]),
    ({"model": "openai/gpt2"}, ["model: unknown model 'openai/gpt2'", "an experiment file with source: hub"]),
    ({"seeds": "one"}, ["seeds: 'one'", "integers from 0 on"]),
    ({"seeds": ""}, ["seeds: ''", "integers from 0 on"]),
    ({"seeds": "1,1"}, ["seeds: [1, 1]", "each once"]),
    ({"changes": ["lrr=1"]}, ["set: 'lrr=1'", "training.<key>=<value>", "lr stands for training.learning_rate"]),
    ({"changes": ["training.lr"]}, ["set: 'training.lr'"]),
    ({"changes": ["training.lr=fast"]}, ['training.learning_rate: "fast"', "a number"]),
    ({"changes": ["training.stepz=1"]}, ["training.stepz: unknown key", "'steps'"]),
    ({"changes": ["training.lr=1", "lr=2"]}, ["set: training.learning_rate is given twice"]),
    ({"changes": ["task.seed=1", "task.seed=2"]}, ["set: task.seed is given twice; allowed: each key once"]),
    ({"changes": ["model.lr=3"]}, ["model.lr: unknown key 'lr'"]),
    ({"model": "smollm2", "changes": ["model.warm_start.lr=3"]}, ["model.warm_start.lr: unknown key 'lr'"]),
    ({"changes": ["model.warm_start={steps: 1, steps: 2}"]}, ["set: model.warm_start: steps: given twice"]),
    ({"changes": ["training.steps=2026-13-01"]}, ["set: training.steps: not YAML"]),
    ({"changes": ["training.steps=2026-12-01"]}, ["training.steps: ", "an integer"]),
    ({"changes": ["task.name.x=1"]}, ["set: task.name.x: name has no keys of its own"]),
    ({"changes": ["evaluation.puzzles=9999"]}, ["evaluation.puzzles: 9999", "task.test"]),
    ({"changes": ["model.layers=[1"]}, ["set: model.layers: not YAML"]),
]


@pytest.mark.parametrize(("given", "parts"), WRONG)
def test_wrong_words_are_refused_in_one_line(given, parts):
    with pytest.raises(ValueError) as error:
        made(**given)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_an_unknown_dataset():
    with pytest.raises(
        ValueError, match=r"^dataset: unknown dataset 'countdwn' \(nearest: 'countdown'\); allowed: countdown"
    ):
        shorthand.experiment("countdwn", "baseline", "mini", folder=FOLDER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot be read \(No such file or directory\)$"),
        ("[]", "the file is list; allowed: a mapping of keys$"),
        ('{"a":', "not JSON: Expecting value"),
        ('{"model_type": "gpt2"}', 'model_type "gpt2" is not supported'),
    ],
)
def test_a_folder_without_a_model(text, message, tmp_path):
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=f"^model: {re.escape(str(file))}: {message}"):
        made(model=str(tmp_path))


@pytest.mark.parametrize("word", ["--config", "--config=results=/x", "--configfile", "--configfiles=x", "-C", "-nC"])
def test_nothing_replaces_the_experiment(word):
    with pytest.raises(ValueError, match=f"^{word} is not allowed, .*; allowed: --set KEY=VALUE, or "):
        shorthand.command("1", [], False, ["-n", word, "results=/x"])


def test_the_call_of_snakemake():
    assert shorthand.command("2", ["gpu=8"], False, ["-k"])[1:] == [
        *("-m", "snakemake", "-k", "--cores", "2", "--resources", "gpu=8")
    ]
    for dry, others in [(True, []), (False, ["-n"]), (False, ["--dryrun"])]:
        assert "--dry-run" in shorthand.command("1", [], dry, others)
    with pytest.raises(ValueError, match=r"^resources: 'gpu' is not allowed; allowed: NAME=N, such as gpu=8$"):
        shorthand.command("1", ["gpu"], False, [])


def test_from_the_command_line(tmp_path):
    """From any folder, the dry run of a model in a folder: its file, its plan, what it would cost, and nothing left."""
    repository = Repository(tmp_path / "repository")
    script = shutil.copy(ROOT / "run_experiment.py", repository.folder)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "model").mkdir(parents=True)
    config = catalogue.find("qwen2.5-1.5b").config  # too large to be tried out on a processor
    (elsewhere / "model/config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "model.safetensors"):
        (elsewhere / "model" / name).write_text("{}")
    environment = {**os.environ, "PYTHONPATH": str(repository.folder), "TMPDIR": str(elsewhere)}

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, script, "--dataset", "countdown", *words]
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=environment)

    words = ["--ablations", "baseline,softmax", "--model", "./model", "--seeds", "0", "--dry-run"]
    done = run(*words, "--resources", "gpu=2", "--cores", "2", "--", "--quiet", "host")
    assert done.returncode == 0, done.stderr
    name, values = made(model=str(elsewhere / "model"), seeds="0")
    assert f"[estimate] {name}: 2 runs, each about " in done.stderr
    assert done.stderr.count("[estimate]") == 1
    assert done.stdout.startswith("# Made by run_experiment.py")
    assert yaml.safe_load(done.stdout.partition("\n\n")[0].partition("Building DAG")[0]) == values
    assert f"results/{name}/runs/softmax/seed-0/run.json" in done.stdout + done.stderr
    assert not (repository.folder / "results").exists() and os.listdir(elsewhere) == ["model"]
    refused = run("--ablations", "baseline", "--model", "gpt2")
    assert refused.returncode == 1 and refused.stderr.startswith("model: unknown model 'gpt2'")
    assert len(refused.stderr.splitlines()) == 1
    assert run(*words, "--", "no-such-target").returncode == 1
    assert not (repository.folder / "results").exists()
    assert run(*words[:-1], "--", "no-such-target").returncode == 1  # not a dry run
    assert yaml.safe_load((repository.folder / f"results/{name}/{name}.yaml").read_text(encoding="utf-8")) == values


def test_the_script_is_thin():
    assert len((ROOT / "run_experiment.py").read_text(encoding="utf-8").splitlines()) <= 40
