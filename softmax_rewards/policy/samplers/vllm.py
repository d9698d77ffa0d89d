"""`vllm`: vLLM samples the answers, in this process and on the device of the training.

It gets the policy's weights before every batch of answers, and then forgets the prompts that it has cached. Prompts,
seeds, scores and groups are the project's own. Answers depend on the random stream of the batch, as those of the
project's decoder do, but vLLM draws them in another way and promises no equal bits.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.config.run import Training
from softmax_rewards.data import tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.samplers._importance import ComparingUpdater as ComparingUpdater
from softmax_rewards.policy.sampling import Stream
from softmax_rewards.policy.sampling_params import PLAIN, SamplingParams

# The engine must be in this process, because its weights are set from tensors of this process.
FORCED = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Of a quiet training log, and of a program that reports to nobody. The environment may say otherwise.
USUAL = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
SEEDS = 2**62  # vLLM gives sample i of a prompt the prompt's seed plus i, and takes seeds below 2^63


def version() -> str:
    """The version of vLLM."""
    import vllm

    return vllm.__version__


def build(native: Sampler, base: Path, settings: Training) -> "VLLMSampler":
    """The sampler with the parts of the `native` one, and vLLM with the model in the folder `base`.

    Raises ValueError, one line, if vLLM refuses the model or the settings.
    """
    parts = {item.name: getattr(native, item.name) for item in fields(Sampler)}
    return VLLMSampler(**parts, engine=_engine(base, settings, native.world.device))


def _engine(base: Path, settings: Training, device: torch.device) -> Any:
    """A `vllm.LLM` for the model in the folder `base`."""
    os.environ.update(FORCED | {name: os.environ.get(name, value) for name, value in USUAL.items()})
    set_num_threads = torch.set_num_threads
    try:
        import vllm

        return vllm.LLM(
            str(base),
            skip_tokenizer_init=True,  # prompts and answers are token ids
            dtype=settings.precision,
            load_format="dummy",  # every batch of answers begins with the weights of the policy
            hf_overrides={"tie_word_embeddings": False},  # see `_weights`
            generation_config="vllm",  # so that no sampling parameter comes from a file of the model
            # Before temperature and top-p, or after both. `Training` allows no case in which neither is log π_T.
            logprobs_mode="raw_logprobs" if settings.temperature == 1 else "processed_logprobs",
            gpu_memory_utilization=settings.sampler_memory,
            max_num_seqs=settings.rollout_batch_size,
            max_model_len=-1,  # as long as the model allows and the cache has room for
            # On a CPU, compiling would take minutes at every start, and a C++ compiler. A prompt must not be read in
            # parts there: vLLM then winds back the generator of its answer, which PyTorch's CPU generators refuse.
            enforce_eager=device.type == "cpu",
            enable_chunked_prefill=device.type != "cpu",
        )
    except Exception as error:  # vLLM raises what its parts raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"training.sampler: vllm: it does not start with the model in {base}: {first}") from error
    finally:
        torch.set_num_threads = set_num_threads  # on a CPU, vLLM replaces it by a function that does nothing


@dataclass(frozen=True)
class VLLMSampler(Sampler):
    """A sampler whose answers come from the `vllm.LLM` `engine`. There is one process (`training.gpus: 1`)."""

    engine: Any = field(kw_only=True)

    def rollout(
        self,
        model: Decoder,
        puzzles: Sequence[dict[str, Any]],
        group_size: int,
        stream: Stream | None,
        params: SamplingParams = PLAIN,
    ) -> Rollouts:
        """As in `Sampler`."""
        module, _ = tasks.load(self.task)
        prompt_texts, prompts = zip(
            *(self.tokenizer.prompt(module.prompt(puzzle, self.template)) for puzzle in puzzles), strict=True
        )
        self._check_lengths(prompts)
        self._hand_over(model)
        completions = self._sample(prompts, group_size, stream, params, model.embed_tokens.weight.device)
        lengths = (completions.lengths - completions.finished.long()).tolist()  # without the end token
        rows = zip(completions.tokens.tolist(), lengths, strict=True)
        texts = self.tokenizer.decode_batch([row[:length] for row, length in rows])
        scores, written = self._scores(puzzles, range(len(puzzles)), texts, stream)
        budgeted = written if self.hidden_budget else None
        return Rollouts(prompts, prompt_texts, completions, texts, scores, group_size, written=budgeted)

    def _check_lengths(self, prompts: Sequence[Sequence[int]]) -> None:
        """Raise ValueError if an answer could not have `max_new_tokens`: vLLM would end it without a word."""
        longest, room = max(map(len, prompts)), self.engine.llm_engine.model_config.max_model_len
        if longest + self.max_new_tokens > room:
            raise ValueError(
                f"training.max_new_tokens: {self.max_new_tokens}; allowed with vllm and prompts of {longest} tokens: "
                f"at most {room - longest}, because its cache or the model ends at {room} (training.sampler_memory)"
            )

    def _hand_over(self, model: Decoder) -> None:
        """Give vLLM the weights of `model`."""
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": _weights(model)})
        self.engine.reset_prefix_cache()  # it holds keys and values of the earlier weights

    def _sample(
        self,
        prompts: Sequence[list[int]],
        group_size: int,
        stream: Stream | None,
        params: SamplingParams,
        device: torch.device,
    ) -> Completions:
        """`group_size` completions of every prompt, on `device`."""
        import vllm

        common = {
            "n": group_size,
            "temperature": params.temperature if stream is not None else 0.0,
            "top_p": params.top_p,
            "max_tokens": self.max_new_tokens,
            "stop_token_ids": list(self.tokenizer.eos_ids),
            "ignore_eos": True,  # only the ids above end an answer, whatever the model's config says
            "logprobs": 0,  # of the drawn token alone
            "detokenize": False,
        }
        seeds = [None] * len(prompts)
        if stream is not None:
            seeds = numpy_stream(*stream, "vllm").integers(SEEDS, size=len(prompts)).tolist()
        outputs = self.engine.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [vllm.SamplingParams(**common, seed=seed) for seed in seeds],
            use_tqdm=False,
        )
        answers = [answer for output in outputs for answer in sorted(output.outputs, key=lambda answer: answer.index)]
        return self._completions(answers, device)

    def _completions(self, answers: Sequence[Any], device: torch.device) -> Completions:
        """vLLM's `answers` (`CompletionOutput`) as completions."""
        size = len(answers), self.max_new_tokens
        tokens = torch.full(size, self.tokenizer.pad_id)
        log_probs = torch.zeros(size)
        for row, answer in enumerate(answers):
            ids = list(answer.token_ids)
            drawn = [position[token].logprob for token, position in zip(ids, answer.logprobs, strict=True)]
            tokens[row, : len(ids)], log_probs[row, : len(ids)] = torch.tensor(ids), torch.tensor(drawn)
        lengths = torch.tensor([len(answer.token_ids) for answer in answers])
        finished = torch.tensor([answer.token_ids[-1] in self.tokenizer.eos_ids for answer in answers])
        # vLLM gives no entropies. −log π of a drawn token has the entropy as its expectation.
        return Completions(tokens, log_probs, -log_probs, lengths, finished).to(device)


def _weights(model: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the model with its Hugging Face name, a tied head too."""
    for name, tensor in checkpoint.named_tensors(model):
        yield name, tensor.detach()
    # On a CPU, vLLM packs the head into another format, and would keep the old one if the head were tied in vLLM too.
    if model.shape.tie_word_embeddings:
        yield "lm_head.weight", model.embed_tokens.weight.detach()
