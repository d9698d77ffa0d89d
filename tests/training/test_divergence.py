"""What is not finite stops a run with its inputs kept, or skips the update; and memory that ran out for good."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from safetensors.torch import load_file

from softmax_rewards.config.run import Training
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy import decoding, gradients, optimizer, update
from softmax_rewards.report.plots import training as plots
from softmax_rewards.training import run_log, run_tables, trainer
from softmax_rewards.training.divergence import DivergenceGuard
from softmax_rewards.training.run_folder import RunFolder
from softmax_rewards.verdicts import aggregate, finished

WEIGHTS = "model/model.safetensors"


def setting(tiny, **training):
    run, data, base = tiny
    return dataclasses.replace(run, training=dataclasses.replace(run.training, **{"steps": 4, **training})), data, base


@pytest.fixture
def planted(monkeypatch):
    """Makes the loss that the update computes not finite at calls of these numbers, from 0; or at all of them."""

    def plant(calls=None, value=math.nan):
        compute, seen = update.Updater._add_gradients, []

        def wrong(self, *arguments):
            loss, cosine = compute(self, *arguments)
            seen.append(loss)
            return (value if calls is None or len(seen) - 1 in calls else loss), cosine

        monkeypatch.setattr(update.Updater, "_add_gradients", wrong)

    return plant


def test_the_inputs_of_a_step_that_stopped_give_its_loss_again_and_go_when_it_passes(tiny, tmp_path, monkeypatch):
    run, data, base = setting(tiny)
    trainer.train(run, data, base, tmp_path / "undisturbed")
    steps = []

    def step(self, max_grad_norm, rounding):
        steps.append(self)
        if len(steps) == 2 + 1:
            raise FloatingPointError("training has diverged: gradient norm inf")
        return original(self, max_grad_norm, rounding)

    original = optimizer.Optimizer.step
    out = tmp_path / "stopped"
    with monkeypatch.context() as patched, pytest.raises(FloatingPointError) as caught:
        patched.setattr(optimizer.Optimizer, "step", step)
        trainer.train(run, data, base, out)
    place = out / "nonfinite-step-000003"
    assert str(caught.value) == (
        f"training has diverged: gradient norm inf (step 3, update 1 of 1); its inputs are in {place}; "
        f"try training.learning_rate below {run.training.learning_rate:g} or training.on_nonfinite: skip"
    )
    facts, tensors = json.loads((place / "step.json").read_text()), load_file(place / "inputs.safetensors")
    assert (facts["step"], facts["update"], facts["grad_norm"]) == (3, 1, None)
    policy, tokenizer = checkpoint.load(base), Tokenizer(base)
    weights = load_file(out / "state/checkpoint-00000002/policy.safetensors")
    with torch.no_grad():
        for name, value in policy.named_parameters():
            value.copy_(weights[name])
        gained = 0.0
        for row, length in enumerate(tensors["lengths"].tolist()):
            prompt = tokenizer.encode(facts["prompts"][row // facts["samples"]])
            ids = torch.tensor([*prompt, *tensors["tokens"][row, :length].tolist()])
            logits = policy.lm_head(policy(ids[None, :-1]))[0, len(prompt) - 1 :].log_softmax(-1)
            own = logits.gather(1, ids[len(prompt) :, None]).sum()
            gained += tensors["weights"].flatten()[row].item() * own.item()
    assert facts["loss"] == pytest.approx(-gained / tensors["lengths"].sum().item(), rel=1e-4, abs=1e-6)
    assert len(facts["texts"]) == tensors["rewards"].numel() and len(facts["puzzles"]) == run.training.prompts_per_step

    trainer.train(run, data, base, out)
    assert not list(out.glob("*nonfinite*"))
    for name in ("metrics.csv", "episodes.parquet", "model/model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name


def test_a_skipped_update_leaves_everything_as_it_was(tiny, tmp_path, planted, capsys):
    run, data, base = setting(tiny, on_nonfinite="skip", steps=1)
    trainer.train(run, data, base, tmp_path / "one")
    planted({1}, math.inf)
    run, data, base = setting(tiny, on_nonfinite="skip", steps=2)
    trainer.train(run, data, base, tmp_path / "two")
    assert (tmp_path / "one" / WEIGHTS).read_bytes() == (tmp_path / "two" / WEIGHTS).read_bytes()
    planted({1}, math.inf)
    run, data, base = setting(tiny, on_nonfinite="skip", steps=3)
    trainer.train(run, data, base, tmp_path)
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert metrics["skipped"].tolist() == [0, 1, 0]
    assert metrics[["loss", "grad_norm"]].isna().all(axis=1).tolist() == [False, True, False]
    assert "training has diverged: loss inf (step 2, update 1 of 1): this update is skipped" in capsys.readouterr().out
    assert not list(tmp_path.glob("*nonfinite*"))


def test_ten_steps_in_a_row_end_the_run_also_across_a_resume(tiny, tmp_path, planted, interrupted_at):
    planted()
    run, data, base = setting(tiny, on_nonfinite="skip", steps=20)
    with interrupted_at(6):
        trainer.train(run, data, base, tmp_path)
    with pytest.raises(FloatingPointError, match=r"loss nan \(step 10, update 1 of 1\), as in the 9 steps before; its"):
        trainer.train(run, data, base, tmp_path)
    assert json.loads((tmp_path / "nonfinite-step-000010/step.json").read_text())["loss"] is None
    for line in (tmp_path / "state/metrics.jsonl").read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_weights_that_are_not_finite_are_never_skipped(tiny, tmp_path):
    run, data, base = setting(tiny, on_nonfinite="skip", learning_rate=1e39)
    with pytest.raises(FloatingPointError, match=r"weights that are not finite after .*\(step 1, update 1 of 1\)"):
        trainer.train(run, data, base, tmp_path)
    assert json.loads((tmp_path / "nonfinite-step-000001/step.json").read_text())["weights"]


def test_weights_of_a_scheme_that_are_not_finite_are_one_line(tiny, tmp_path, monkeypatch):
    from softmax_rewards.weighting.schemes import softmax

    monkeypatch.setattr(softmax, "weights", lambda rewards, correct, *, tau: np.full(rewards.shape, np.nan))
    with pytest.raises(ValueError, match=r"^weights of scheme 'softmax': the value at \[0, 0\] is nan; allowed: a fin"):
        trainer.train(*setting(tiny), tmp_path)


def test_a_table_has_null_for_what_json_has_not(tmp_path):
    log = run_log.RunLog(tmp_path)
    log.append("metrics", {"step": 1, "loss": math.nan, "kl": math.inf, "tau": None})
    assert log.rows("metrics") == [{"step": 1, "loss": None, "kl": None, "tau": None}]
    log.close()


def test_all_that_reads_a_finished_run_copes_with_a_skipped_step(tmp_path):
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    runs = synthetic.write_experiment(tmp_path / "runs", ablations=ablations, seeds=2)
    metrics = pd.read_csv(runs[0] / "metrics.csv").assign(skipped=0)
    metrics.loc[2, ["loss", "grad_norm", "skipped"]] = [None, None, 1]
    metrics.to_csv(runs[0] / "metrics.csv", index=False)
    assert {"loss", "grad_norm"} & set(run_tables.rows(runs[0], "metrics")[2]) == set()
    plan = tmp_path / "plan"
    plan.write_text("")
    aggregate.write(runs, tmp_path / "summary", synthetic.experiment(ablations), plan)
    table = pd.read_csv(tmp_path / "summary/metrics.csv")
    assert table["loss"].isna().sum() == 1 and finished.read(runs[0]).metrics["skipped"].sum() == 1
    plots.over_training(table, {"grad_norm": "gradient norm"})
    assert pd.read_csv(tmp_path / "summary/failures.csv").empty


@pytest.mark.parametrize(("module", "name"), [(decoding, "decode"), (gradients, "token_log_probs")])
def test_where_the_least_does_not_fit_the_line_says_what_to_lower(tiny, tmp_path, monkeypatch, module, name):
    def none(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nmore")

    monkeypatch.setattr(module, name, none)
    run, data, base = setting(tiny, precision="bfloat16")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train(run, data, base, tmp_path)
    assert str(caught.value) == (
        "the device is out of memory even for the least at once; of training, lower max_new_tokens (48), "
        "group_size (4), prompts_per_step (4), or set gradient_checkpointing: true, optimizer_state: host "
        "(CUDA out of memory. Tried to allocate 20 MiB.)"
    )


def test_when_a_run_finishes_nothing_of_later_steps_stays(tmp_path):
    (tmp_path / "nonfinite-step-000050").mkdir()
    DivergenceGuard(RunFolder(tmp_path, ""), Training()).finished()
    assert not list(tmp_path.iterdir())
