"""The sampler `vllm`, with the stand-in of tests/standin_vllm.py and, where it is installed, with vLLM itself."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import standin_vllm
import torch

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.gradients import log_probs
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.rollout import Sampler
from softmax_rewards.policy.samplers import vllm as plugin
from softmax_rewards.policy.sampling_params import SamplingParams
from softmax_rewards.training import base_model

SMOKE = Path(__file__).parents[1] / "smoke/smoke.yaml"
STREAM = (0, "rollout", 0)
SIZE, LONGEST = 3, 48
MARKS = (
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of vLLM's own modules
)
ENGINES = ["standin", pytest.param("vllm", marks=MARKS)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """(run, puzzles, base folder) of a small base model with heads of 32 numbers, which vLLM needs."""
    run = experiments.load(SMOKE).run("softmax-0.5", 0)
    run = dataclasses.replace(run, model=run.model | {"hidden_size": 64})
    folder = tmp_path_factory.mktemp("wide")
    dataset.write(run.task, folder / "data")
    base_model.build(run.model, run.task, folder / "data", folder / "base")
    return run, dataset.read(folder / "data", "train"), folder / "base"


def native(run, base, **changes):
    parts = {"max_new_tokens": LONGEST, "reward_timeout": 60.0, **changes}
    return Sampler(Tokenizer(base), run.task, "compact", Limits(1024, 1), **parts)


def built(run, base, **settings):
    training = dataclasses.replace(run.training, **{"sampler": "vllm", "sampler_memory": 0.1, **settings})
    return plugin.build(native(run, base), base, training)


@pytest.fixture(scope="module", params=ENGINES)
def sampler(request, wide):
    """The sampler at temperature 1. One engine serves all tests, because vLLM takes a while to start."""
    run, _, base = wide
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "standin":
            standin_vllm.install(patched)
        yield built(run, base)


@pytest.fixture
def standin(monkeypatch):
    standin_vllm.install(monkeypatch)


def changed(policy):
    """Another policy: the same weights, pushed at random."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return policy


def expected(policy, rollouts, temperature=1.0):
    """log π_T of the sampled tokens in a pass of training."""
    drawn = rollouts.completions
    return log_probs(policy, Samples(rollouts.prompts, drawn.tokens, drawn.lengths.tolist()), 10**6, temperature)


def test_its_log_probabilities_are_the_trainers_also_after_the_weights_changed(wide, sampler):
    _, puzzles, base = wide
    policy = checkpoint.load(base)
    for step in range(3):
        rollouts = sampler.rollout(policy, puzzles[:6], SIZE, (0, "rollout", step))
        torch.testing.assert_close(rollouts.completions.log_probs, expected(policy, rollouts), atol=1e-4, rtol=0)
        changed(policy)
        # The change is large enough to be seen: otherwise earlier weights would pass this test.
        assert (rollouts.completions.log_probs - expected(policy, rollouts)).abs().max() > 0.01


def test_its_rollouts_have_the_form_of_the_projects_own(wide, sampler):
    run, puzzles, base = wide
    policy = checkpoint.load(base)
    here, there = (one.rollout(policy, puzzles[:6], SIZE, STREAM) for one in (native(run, base), sampler))
    assert (here.prompts, here.prompt_texts, here.group_size) == (there.prompts, there.prompt_texts, there.group_size)
    drawn, ends = there.completions, sampler.tokenizer.eos_ids
    for item in dataclasses.fields(drawn):
        one, other = getattr(here.completions, item.name), getattr(drawn, item.name)
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device), item.name
    for row, length in enumerate(drawn.lengths.tolist()):
        inside, after = drawn.tokens[row, :length].tolist(), drawn.tokens[row, length:]
        assert bool(drawn.finished[row]) == (inside[-1] in ends) and not set(inside[:-1]) & set(ends)
        assert drawn.finished[row] or length == LONGEST
        assert (after == sampler.tokenizer.pad_id).all() and not drawn.log_probs[row, length:].any()
        assert there.texts[row] == sampler.tokenizer.decode(inside[: length - int(drawn.finished[row])])
    assert drawn.finished.any() and len(there.scores) == 6 * SIZE


def test_a_stream_gives_the_same_answers_again_and_another_one_others(wide, sampler):
    _, puzzles, base = wide
    policy = checkpoint.load(base)
    first, again, other = (
        sampler.rollout(policy, puzzles[:6], SIZE, stream).texts for stream in (STREAM, STREAM, (0, "rollout", 1))
    )
    assert first == again != other
    assert len(set(first)) > 6  # answers to one puzzle have seeds of their own


def test_answers_without_a_stream_are_greedy(wide, sampler):
    run, puzzles, base = wide
    policy = checkpoint.load(base)
    here, there = (one.rollout(policy, puzzles[:6], 1, None).texts for one in (native(run, base), sampler))
    assert here == there


def test_its_answers_have_the_policys_distribution(wide, sampler):
    """The first token of many answers to one puzzle, against the policy's own probabilities."""
    _, puzzles, base = wide
    policy = checkpoint.load(base)
    answers = 600
    short = dataclasses.replace(sampler, max_new_tokens=1)
    rollouts = short.rollout(policy, puzzles[:1], answers, STREAM)
    first = rollouts.completions.tokens[:, 0]
    with torch.no_grad():
        probabilities = policy.lm_head(policy(torch.tensor(rollouts.prompts)))[0, -1].softmax(0)
    shares = torch.bincount(first, minlength=len(probabilities)) / answers
    error = (probabilities * (1 - probabilities) / answers).sqrt()
    assert ((shares - probabilities).abs() < 5 * error + 2 / answers).all()
    # Its entropies are −log π, so their mean is the entropy.
    entropies = rollouts.completions.entropies[:, 0]
    entropy = -(probabilities * probabilities.log()).sum()
    assert abs(entropies.mean() - entropy) < 5 * entropies.std() / answers**0.5


def test_an_answer_that_could_be_cut_by_the_engine_is_refused(wide, sampler):
    _, puzzles, base = wide
    room = sampler.engine.llm_engine.model_config.max_model_len
    long = dataclasses.replace(sampler, max_new_tokens=room)
    with pytest.raises(
        ValueError, match=rf"^training\.max_new_tokens: {room}; allowed .* at most \d+, .*{room}"
    ) as told:
        long.rollout(checkpoint.load(base), puzzles[:1], 1, STREAM)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_its_engine_gives_the_log_probabilities_of_the_trainings_temperature(standin, wide, temperature):
    run, puzzles, base = wide
    policy = checkpoint.load(base)
    own = built(run, base, temperature=temperature, rollout_batch_size=96, precision="bfloat16")
    mode = {1.0: "raw_logprobs", 0.7: "processed_logprobs"}[temperature]
    engine = own.engine.settings
    assert (engine["logprobs_mode"], engine["dtype"], engine["max_num_seqs"]) == (mode, "bfloat16", 96)
    own = built(run, base, temperature=temperature)
    rollouts = own.rollout(policy, puzzles[:4], SIZE, STREAM, SamplingParams(temperature))
    found = expected(policy, rollouts, temperature)
    torch.testing.assert_close(rollouts.completions.log_probs, found, atol=1e-4, rtol=0)


def test_an_engine_that_does_not_start_says_so_in_one_line(standin, tiny):
    run, _, base = tiny  # with heads of 16 numbers
    with pytest.raises(ValueError, match=r"^training\.sampler: vllm: .*base: head size 16 is not supported$"):
        built(run, base)


def test_the_engine_leaves_the_number_of_threads_to_the_training(standin, monkeypatch, wide):
    run, _, base = wide
    before, start = torch.set_num_threads, standin_vllm.LLM.__init__

    def replacing(self, *arguments, **settings):
        torch.set_num_threads = lambda count: None
        start(self, *arguments, **settings)

    monkeypatch.setattr(standin_vllm.LLM, "__init__", replacing)
    built(run, base)
    assert torch.set_num_threads is before
