"""A stand-in for vLLM: the part of its interface that `policy/samplers/vllm.py` uses, on the project's own decoder.

tests/policy/test_vllm_sampler.py holds the stand-in and, where it is installed, vLLM itself to the same tests.
"""

import importlib.machinery
import sys
import types
from pathlib import Path

import torch

from softmax_rewards.models import checkpoint
from softmax_rewards.policy import decoding
from softmax_rewards.policy.sampling_params import SamplingParams as OwnParams

VERSION = "0.0.standin"


class SamplingParams:
    def __init__(self, *, n, temperature, top_p, seed, max_tokens, stop_token_ids, ignore_eos, logprobs, detokenize):
        assert ignore_eos and logprobs == 0 and not detokenize
        self.n, self.seed, self.max_tokens, self.stop_token_ids = n, seed, max_tokens, stop_token_ids
        self.own = OwnParams(temperature or 1.0, top_p)
        self.greedy = temperature == 0


class LLM:
    """It has wrong weights until it is given others, and takes prompts and answers of 300 tokens together."""

    def __init__(self, model, **settings):
        assert settings["skip_tokenizer_init"] and settings["load_format"] == "dummy"
        self.settings = settings
        self.model = checkpoint.load(Path(model), "cpu", getattr(torch, settings["dtype"]))
        if self.model.shape.head_dim < 32:
            raise ValueError(f"head size {self.model.shape.head_dim} is not supported\nand more lines")
        self.model.initialize(torch.Generator().manual_seed(1))
        self.llm_engine = types.SimpleNamespace(model_config=types.SimpleNamespace(max_model_len=300))
        self.cached = False

    def collective_rpc(self, method, kwargs):
        assert method == "reload_weights"
        given = dict(kwargs["weights_iterator"])
        assert "lm_head.weight" in given  # a tied head too
        with torch.no_grad():
            for name, tensor in checkpoint.named_tensors(self.model):
                tensor.copy_(given[name])

    def reset_prefix_cache(self):
        self.cached = False

    def generate(self, prompts, params, use_tqdm):
        assert not use_tqdm and not self.cached, "prompts are cached that the earlier weights computed"
        self.cached = True
        return [self._output(prompt["prompt_token_ids"], one) for prompt, one in zip(prompts, params, strict=True)]

    def _output(self, prompt, params):
        noise = None
        if not params.greedy:
            rows = [torch.Generator().manual_seed(params.seed + index) for index in range(params.n)]
            noise = torch.stack([torch.rand(params.max_tokens, dtype=torch.float64, generator=row) for row in rows])
        drawn = decoding.decode(
            self.model, [prompt], params.n, params.max_tokens, params.stop_token_ids, 0, noise, params.own
        )
        answers = []
        for index, length in enumerate(drawn.lengths.tolist()):
            ids = drawn.tokens[index, :length].tolist()
            values = drawn.log_probs[index, :length].tolist()
            logprobs = [{token: types.SimpleNamespace(logprob=value)} for token, value in zip(ids, values, strict=True)]
            answers.append(types.SimpleNamespace(index=index, token_ids=ids, logprobs=logprobs))
        return types.SimpleNamespace(outputs=answers[::-1])  # the order is not promised


def install(monkeypatch):
    """Let `import vllm` find the stand-in."""
    module = types.ModuleType("vllm")
    module.__spec__ = importlib.machinery.ModuleSpec("vllm", None)
    module.LLM, module.SamplingParams, module.__version__ = LLM, SamplingParams, VERSION
    monkeypatch.setitem(sys.modules, "vllm", module)
