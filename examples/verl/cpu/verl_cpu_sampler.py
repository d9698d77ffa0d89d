"""A sampler for verl on processors: `generate` of Transformers in a Ray actor, one beside every training worker."""

import asyncio
from collections.abc import Generator
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from verl.workers.config import RolloutConfig
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

PATIENCE = 0.1  # seconds in which a sampler waits for more prompts before it answers all that have come


def _actor_name(rank: int) -> str:
    return f"sampler_{rank}"


class Sender(BaseRollout):
    """The part in the training worker: it sends the weights."""

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(
        self, weights: Generator[tuple[str, torch.Tensor], None, None], global_steps: int | None = None, **_: Any
    ) -> None:
        # Every rank gathers the whole weights, and sends them to the sampler beside it.
        state = {name: tensor.detach().clone() for name, tensor in weights}
        await ray.get_actor(_actor_name(torch.distributed.get_rank())).load.remote(state, global_steps)


class Sampler:
    """Answers prompts. Those that come at about the same time are one batch."""

    def __init__(self, config: RolloutConfig, model: str, rank: int) -> None:
        from transformers import AutoModelForCausalLM

        self.config = config
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        self.step: int | None = None
        self.waiting: list[tuple[list[int], dict[str, Any], asyncio.Future]] = []
        torch.manual_seed(config.seed + rank)

    async def load(self, state: dict[str, torch.Tensor], step: int | None) -> None:
        """Take the weights after update `step`. Raises ValueError if they are of another model."""
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        if unexpected or set(missing) - set(self.model.all_tied_weights_keys):
            raise ValueError(f"weights of another model: {unexpected or missing}")
        self.step = step

    async def address(self) -> str:
        """The address of this actor's node."""
        return ray.util.get_node_ip_address()

    async def generate(self, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any) -> TokenOutput:
        """The answer to one prompt, with the log-probability of every token."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append((list(prompt_ids), sampling_params, answer))
        await asyncio.sleep(PATIENCE)
        while not answer.done():  # the first to wake up answers for the others
            self._answer_batch()
        return await answer

    def _answer_batch(self) -> None:
        params = self.waiting[0][1]
        batch = [request for request in self.waiting if request[1] == params][: self.config.max_num_seqs]
        outputs = self._complete([prompt for prompt, _, _ in batch], params)
        for (_, _, answer), output in zip(batch, outputs, strict=True):
            answer.set_result(output)
        self.waiting = [request for request in self.waiting if not request[2].done()]

    @torch.inference_mode()
    def _complete(self, prompts: list[list[int]], params: dict[str, Any]) -> list[TokenOutput]:
        settings = self.model.generation_config
        width = max(map(len, prompts))
        generated = self.model.generate(
            input_ids=torch.tensor([[settings.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts]),
            attention_mask=torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
            max_new_tokens=self.config.response_length,
            do_sample=params["temperature"] > 0,
            temperature=params["temperature"] or None,
            top_p=params["top_p"],
            top_k=max(params["top_k"], 0),  # all tokens are -1 for verl, and 0 for Transformers
            output_scores=True,
            return_dict_in_generate=True,
        )
        tokens = generated.sequences[:, width:]
        log_probs = torch.stack(generated.scores, dim=1).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        outputs = []
        for row, row_log_probs in zip(tokens.tolist(), log_probs.tolist(), strict=True):
            length = next((place for place, token in enumerate(row, 1) if token in ends), len(row))
            outputs.append(
                TokenOutput(
                    token_ids=row[:length],
                    log_probs=row_log_probs[:length],
                    stop_reason="completed",
                    extra_fields={"global_steps": self.step},
                )
            )
        return outputs

    async def wake_up(self, **_: Any) -> None:
        """Nothing: verl asks this and what follows of every server, about a GPU's memory or requests under way."""

    sleep = abort_all_requests = resume_generation = clear_kv_cache = release_kv_cache = resume_kv_cache = wake_up


class Replica(RolloutReplica):
    """Starts the sampler on the node of its training worker."""

    async def launch_servers(self) -> None:
        (worker,) = self.workers
        node = await worker.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id())
        actor = ray.remote(Sampler).options(
            name=_actor_name(self.replica_rank),
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            max_concurrency=self.max_concurrency,
        )
        self._server_handle = actor.remote(self.config, self.model_config.path, self.replica_rank)
        self._server_address = f"{await self._server_handle.address.remote()}/{self.replica_rank}"
        self.servers = [self._server_handle]
