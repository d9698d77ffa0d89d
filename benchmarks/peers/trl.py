"""TRL's `GRPOTrainer` with `transformers`' own generation (no vLLM), without logging, saving or checkpointing.

The loss is `cispo`: on the policy that sampled, its clipped ratio is 1, so value and gradient are those of the
token-normalized policy gradient; `dapo` has the same gradient, but a value without the log-probabilities.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limit import now
from work import Fixed, Work

from peers import Step, Trainer, counting, quiet
from softmax_rewards import weighting

SETTINGS = {
    "max_steps": 1, "shuffle_dataset": False, "temperature": 1.0, "beta": 0.0, "loss_type": "cispo",
    "epsilon_high": 5.0, "lr_scheduler_type": "constant", "weight_decay": 0.0, "gradient_checkpointing": False,
    "logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    "dataloader_num_workers": 0, "dataloader_pin_memory": False,
}  # fmt: skip


def trainers(work: Work, checkout: Path | None) -> dict[str, Trainer]:
    if checkout is not None:
        raise ValueError(f"trl takes no path: {checkout}; allowed: --peers trl")
    try:
        import trl  # noqa: F401
    except ImportError as error:
        raise ValueError(f"trl: {error}; pip install -c constraints.txt -e '.[bench]'") from None
    return {"trl": TRL(work)}


class TRL:
    """TRL; a step is one call of `train` with one optimizer step, timed from its beginning to its end."""

    unit = "rows"

    def __init__(self, work: Work) -> None:
        from transformers import AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.work, self.choices = work, work.row_choices()
        self.tokenizer = AutoTokenizer.from_pretrained(work.base, padding_side="left")
        texts, prompts = zip(*work.prompts, strict=True)
        if self.tokenizer(text=list(texts))["input_ids"] != list(prompts):
            raise ValueError(f"{work.base}: transformers cuts the prompts into other tokens than this project")

    def step(self, seed: int, microbatch: int) -> Step:
        work = self.work
        trainer, clock = self.build(len(work.puzzles), microbatch, work.dtype, seed)
        generate, lengths, rollout = trainer._generate_and_score_completions, [], []

        def timed(inputs: Any) -> Any:
            began = now(work.device)
            outputs = generate(inputs)
            rollout.append(now(work.device) - began)
            lengths.extend(outputs["completion_mask"].sum(1).tolist())
            return outputs

        trainer._generate_and_score_completions = timed
        with counting(trainer.model.get_input_embeddings()) as passed, quiet():
            trainer.train()
        answer_lengths = np.array(lengths).reshape(-1, work.training.group_size)
        trained = np.ones(answer_lengths.shape, dtype=bool)
        return Step(sum(rollout), clock.seconds - sum(rollout), answer_lengths, trained, sum(passed))

    def learn(self, batch: Fixed) -> tuple[float, float]:
        work = self.work
        count, samples = batch.rewards.shape
        rows = len(batch.answers)
        # Two micro-batches, so that the loss aggregation over them is checked too.
        trainer, _ = self.build(count, rows // 2 if rows % 2 == 0 else rows, torch.float32, 0)
        prompts = [work.prompts[row // samples][1] for row in range(rows)]
        ids, mask = padded([prompt[::-1] for prompt in prompts], self.tokenizer.pad_token_id)
        answers, answer_mask = padded(batch.answers, self.tokenizer.pad_token_id)
        weights = weighting.compute("linear", batch.rewards, np.zeros(batch.rewards.shape, dtype=bool))
        inputs = {
            "prompt_ids": ids.flip(1), "prompt_mask": mask.flip(1), "completion_ids": answers,
            "completion_mask": answer_mask, "advantages": torch.tensor(weights.ravel(), dtype=torch.float32),
            "num_items_in_batch": answer_mask.sum(),
        }  # fmt: skip
        inputs = {name: value.to(work.device) for name, value in inputs.items()}
        trainer._generate_and_score_completions = lambda _: inputs
        norms, clip = [], trainer._clip_grad_norm
        trainer._clip_grad_norm = lambda model: norms.append(float(clip(model))) or norms[-1]
        with quiet():
            return trainer.train().training_loss, norms[0]

    def build(self, prompts: int, rows: int, dtype: torch.dtype, seed: int) -> tuple[Any, Any]:
        """A trainer of the first prompts with the base weights and micro-batches of `rows`, and its clock."""
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, PrinterCallback
        from trl import GRPOConfig, GRPOTrainer

        work, settings = self.work, self.work.training
        texts = [{"prompt": text, "puzzle": index} for index, (text, _) in enumerate(work.prompts[:prompts])]
        clock = _clock(work.device)
        with quiet():
            arguments = GRPOConfig(
                **SETTINGS, output_dir=tempfile.gettempdir(), seed=seed, use_cpu=work.device.type == "cpu",
                bf16=dtype == torch.bfloat16, per_device_train_batch_size=rows,
                gradient_accumulation_steps=prompts * settings.group_size // rows, num_generations=settings.group_size,
                max_completion_length=settings.max_new_tokens, learning_rate=settings.learning_rate,
                max_grad_norm=settings.max_grad_norm,
            )  # fmt: skip
            model = AutoModelForCausalLM.from_pretrained(work.base, dtype=dtype)
            trainer = GRPOTrainer(
                model, self.reward, arguments, Dataset.from_list(texts), processing_class=self.tokenizer,
                callbacks=[clock],
            )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        return trainer, clock

    def reward(self, completions: list[str], puzzle: list[int], **rest: Any) -> list[float]:
        pairs = zip(completions, puzzle, strict=True)
        return [self.work.reward(text, self.work.puzzles[index]) for text, index in pairs]


def _clock(device: torch.device) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Seconds from the beginning to the end of the optimizer step, micro-batches and rollout included."""

        def on_step_begin(self, *arguments: Any, **rest: Any) -> None:
            self.began = now(device)

        def on_step_end(self, *arguments: Any, **rest: Any) -> None:
            self.seconds = now(device) - self.began

    return Clock()


def padded(rows: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows` as one tensor, padded on the right, and its mask of real tokens."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
