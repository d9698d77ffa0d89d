"""`training.sampler`: what is refused, what a run with the sampler `vllm` logs, and what other runs keep."""

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pandas as pd
import pytest
import standin_vllm

from softmax_rewards.common import plugins, provenance
from softmax_rewards.config import experiments
from softmax_rewards.config.run import NEWER, ConfigError, Run, Training
from softmax_rewards.data import dataset
from softmax_rewards.training import base_model, samplers, session, trainer

SMOKE = Path(__file__).parents[1] / "smoke/smoke.yaml"
REFUSED = {
    "importance_cap: 2.0 is not allowed; allowed: no such key beside training.sampler: native": {"importance_cap": 2.0},
    "sampler_memory: 0.5 is not allowed; allowed: no such key beside training.sampler: native": {"sampler_memory": 0.5},
    "gpus: 2 is not allowed; allowed: 1 beside training.sampler: vllm": {"sampler": "vllm", "gpus": 2},
    "top_p: 0.9 is not allowed; allowed: 1 beside training.sampler: vllm with another temperature than 1": {
        "sampler": "vllm", "top_p": 0.9, "temperature": 0.7
    },
    "injection: 1.0 is not allowed; allowed: null beside training.importance_cap": {
        "sampler": "vllm", "importance_cap": 2.0, "injection": 1.0
    },
    "imitation: 1.0 is not allowed; allowed: null beside training.importance_cap": {
        "sampler": "vllm", "importance_cap": 2.0, "imitation": 1.0
    },
    "importance_cap: 0.5 is not allowed; allowed: a number of at least 1, or null for none": {
        "sampler": "vllm", "importance_cap": 0.5
    },
    "sampler: \"vlm\" is not allowed (nearest: 'vllm'); allowed: native, vllm": {"sampler": "vlm"},
}  # fmt: skip
ALLOWED = (
    {"sampler": "vllm", "importance_cap": 2.0, "sampler_memory": 0.5},
    {"sampler": "vllm", "top_p": 0.9},
    {"sampler": "vllm", "temperature": 0.7},
    {"sampler": "vllm", "injection": 1.0},
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(run, data folder, base folder) with the sampler `vllm` and a base model that its stand-in takes."""
    run = experiments.load(SMOKE).run("softmax-0.5", 0)
    settings = {"sampler": "vllm", "importance_cap": 2.0, "steps": 4, "checkpoint_every": 1}
    model = run.model | {"hidden_size": 64, "warm_start": run.model["warm_start"] | {"steps": 100}}
    run = dataclasses.replace(run, model=model, training=dataclasses.replace(run.training, **settings))
    folder = tmp_path_factory.mktemp("small")
    dataset.write(run.task, folder / "data")
    base_model.build(run.model, run.task, folder / "data", folder / "base")
    return run, folder / "data", folder / "base"


def test_every_sampler_is_a_file_of_its_folder():
    assert set(get_args(get_type_hints(Training)["sampler"])) == {samplers.NATIVE, *plugins.names(plugins.SAMPLERS)}


@pytest.mark.parametrize("message", REFUSED)
def test_settings_that_do_not_fit_the_sampler_are_refused_in_one_line(message):
    with pytest.raises(ConfigError) as told:
        Training(**REFUSED[message])
    assert str(told.value).startswith(f"training.{message}") and "\n" not in str(told.value)


@pytest.mark.parametrize("settings", ALLOWED)
def test_the_others_are_allowed(settings):
    Training(**settings)


def test_a_sampler_that_is_not_installed_is_named_before_any_job(small, monkeypatch):
    run, _, _ = small
    monkeypatch.setattr(samplers.importlib.util, "find_spec", lambda name: None)
    line = rf"^training\.sampler: vllm: the package vllm is not installed for {re.escape(sys.executable)}; allowed: "
    with pytest.raises(ConfigError, match=line):
        session.check_samplers([run])
    native = dataclasses.replace(run, training=Training())
    session.check_samplers([native])
    with pytest.raises(ConfigError, match=line):
        trainer.prepare(*small, "compact", trainer.World())


def test_a_resolved_run_has_newer_keys_only_where_they_differ(small):
    run, _, _ = small
    plain = experiments.load(SMOKE).run("baseline", 0)
    assert not plain.to_dict()["training"].keys() & set(NEWER)
    assert run.to_dict()["training"].keys() & set(NEWER) == {"sampler", "importance_cap"}
    for one in (plain, run):
        assert Run.from_json(one.to_json()) == one


def test_the_code_of_a_sampler_counts_for_its_runs_only(small):
    run, _, _ = small
    with_sampler = run.to_dict()
    native = dataclasses.replace(run, training=Training()).to_dict()
    files = {
        name: set(provenance.closure(
            provenance.PACKAGE / provenance.ENTRY["train"], provenance.run_plugins(one)["train"], provenance.counts
        )) for name, one in (("vllm", with_sampler), ("native", native))
    }  # fmt: skip
    folder = plugins.SAMPLERS
    assert files["vllm"] - files["native"] == {folder, f"{folder}.vllm", f"{folder}._importance"}
    assert not any(name.startswith(folder) for name in files["native"])
    codes = provenance.run_code(with_sampler), provenance.run_code(native)
    assert codes[0]["trainer"] == codes[1]["trainer"] and "sampler" in codes[0] and "sampler" not in codes[1]
    assert codes[0]["train"] != codes[1]["train"]


def test_a_run_compares_the_log_probabilities_of_both_engines_in_every_step(small, tmp_path, monkeypatch):
    standin_vllm.install(monkeypatch)
    trainer.train(*small, tmp_path / "run")
    metrics = pd.read_csv(tmp_path / "run/metrics.csv")
    assert len(metrics) == 4
    assert (metrics["sampling_logp_difference"] < metrics["sampling_logp_largest"]).all()
    assert (metrics["sampling_logp_largest"] < 1e-4).all() and (metrics["importance_capped"] == 0).all()
    assert ((metrics["importance_ratio"] - 1).abs() < 1e-4).all()
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["versions"]["vllm"] == standin_vllm.VERSION and record["sampler"] != record["trainer"]


def test_weights_that_the_engine_does_not_take_are_seen_in_the_log(small, tmp_path, monkeypatch):
    standin_vllm.install(monkeypatch)
    given, called = standin_vllm.LLM.collective_rpc, []

    def only_first(self, *arguments, **named):
        if not called:
            given(self, *arguments, **named)
        called.append(1)

    monkeypatch.setattr(standin_vllm.LLM, "collective_rpc", only_first)
    trainer.train(*small, tmp_path / "run")
    largest = pd.read_csv(tmp_path / "run/metrics.csv")["sampling_logp_largest"]
    assert largest.iloc[0] < 1e-4 and (largest.iloc[1:] > 1e-3).all()


def test_an_interrupted_run_goes_on(small, tmp_path, monkeypatch, interrupted_at):
    standin_vllm.install(monkeypatch)
    with interrupted_at(3):
        trainer.train(*small, tmp_path / "run")
    trainer.train(*small, tmp_path / "run")
    assert pd.read_csv(tmp_path / "run/metrics.csv")["step"].tolist() == [1, 2, 3, 4]
