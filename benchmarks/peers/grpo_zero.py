"""GRPO-Zero, from a checkout, as it is: its model, its rollout, its update; the verifier is this project's."""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from limit import now
from work import Fixed, Work

from peers import Step, Trainer, counting, quiet
from softmax_rewards.models import checkpoint

MODULES = ("grpo", "data_types", "qwen2_model", "optimizer")
# What its reader of `config.json` asks for beside what a checkpoint of this project's says.
CONFIG = {
    "attention_dropout": 0.0, "bos_token_id": 0, "initializer_range": 0.02, "max_window_layers": 99,
    "sliding_window": None, "use_sliding_window": False, "use_cache": True,
}  # fmt: skip


def trainers(work: Work, checkout: Path | None) -> dict[str, Trainer]:
    if checkout is None:
        raise ValueError("grpo-zero needs the path of a checkout: --peers grpo-zero=<checkout>")
    missing = [name for name in MODULES if not (checkout / f"{name}.py").is_file()]
    if missing:
        raise ValueError(f"{checkout}: no checkout of GRPO-Zero, {missing[0]}.py is missing")
    return {"grpo-zero": GRPOZero(work, checkout)}


class GRPOZero:
    """GRPO-Zero. Its gradient checkpointing is always on; its prompts of unequal length share a longest total."""

    unit = "rows"

    def __init__(self, work: Work, checkout: Path) -> None:
        self.work, self.choices = work, work.row_choices()
        sys.path.insert(0, str(checkout))
        try:
            self.grpo, self.types, self.model, self.optimizer = map(importlib.import_module, MODULES)
        except ImportError as error:
            raise ValueError(f"{checkout}: cannot be imported: {error}") from None
        finally:
            sys.path.remove(str(checkout))
        self.tokenizer = SimpleNamespace(
            eos_token="<eos>", eos_token_id=work.tokenizer.eos_ids[0], pad_token_id=work.tokenizer.pad_id,
            detokenize=work.tokenizer.decode,
        )  # fmt: skip
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        values = CONFIG | checkpoint.read_config(work.base) | {"torch_dtype": work.training.precision}
        (folder / "config.json").write_text(json.dumps(values))
        for file in work.base.glob("model*.safetensors"):
            (folder / file.name).symlink_to(file.resolve())

    def step(self, seed: int, microbatch: int) -> Step:
        work, settings = self.work, self.work.training
        model, adamw = self.fresh(work.dtype)
        torch.manual_seed(seed)
        began = now(work.device)
        with quiet():
            episodes = self.grpo.rollout(
                model, self.prompts(len(work.puzzles)), self.tokenizer, settings.max_new_tokens, settings.group_size,
                self.reward, work.device, work.dtype,
            )  # fmt: skip
        sampled = now(work.device)
        with counting(model.embed_tokens) as passed:
            self.update(model, adamw, episodes, microbatch, work.dtype)
        updated = now(work.device)
        lengths = np.array([len(episode.generated_token_ids) for episode in episodes]).reshape(-1, settings.group_size)
        return Step(sampled - began, updated - sampled, lengths, np.ones(lengths.shape, dtype=bool), sum(passed))

    def learn(self, batch: Fixed) -> tuple[float, float]:
        count, samples = batch.rewards.shape
        prompts, rewards = self.prompts(count), batch.rewards.ravel().tolist()
        episodes = [
            self.types.Episode(
                prefix=prompts.prefix[row // samples], text="", prefix_tokens=[],
                prefix_token_ids=prompts.prefix_token_ids[row // samples], generated_token_ids=answer,
                is_finished=True, reward=reward, reward_info={},
            )
            for row, (answer, reward) in enumerate(zip(batch.answers, rewards, strict=True))
        ]  # fmt: skip
        # It tells the loss of its last micro-batch only, so there is one.
        facts = self.update(*self.fresh(torch.float32), episodes, len(episodes), torch.float32)
        return facts["loss"], facts["grad_norm"]

    def fresh(self, dtype: torch.dtype) -> tuple[Any, Any]:
        """The model with the base weights, and its optimizer."""
        with quiet():
            model = self.model.Transformer.from_pretrained(self.folder.name, device=self.work.device).to(dtype).train()
        rate = self.work.training.learning_rate
        return model, self.optimizer.MemoryEfficientAdamW(model.parameters(), lr=rate, weight_decay=0.0, enabled=False)

    def update(self, model: Any, adamw: Any, episodes: list[Any], rows: int, dtype: torch.dtype) -> dict[str, float]:
        with quiet():
            return self.grpo.update_policy(
                model, adamw, episodes, rows, self.tokenizer.pad_token_id, self.work.training.max_grad_norm,
                self.work.device, dtype,
            )  # fmt: skip

    def prompts(self, count: int) -> Any:
        puzzles = self.work.puzzles[:count]
        texts, ids = zip(*self.work.prompts[:count], strict=True)
        return self.types.MiniBatch(
            prefix=list(texts),
            prefix_tokens=[list(text) for text in texts],
            prefix_token_ids=list(ids),
            numbers=[puzzle["nums"] for puzzle in puzzles],
            target=[puzzle["target"] for puzzle in puzzles],
        )

    def reward(self, response: str, numbers: Any, target: Any, end_token: str) -> dict[str, Any]:
        reward = self.work.reward(response.removesuffix(end_token), {"nums": numbers, "target": target})
        return {"reward": reward, "reward_info": {}}
