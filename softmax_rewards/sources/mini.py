"""`mini`: the embedded default, a Qwen2-shaped model that the pipeline trains itself in minutes.

It reads one character a token and is warm-started by supervised learning on synthetic search traces
(the idea of "Stream of Search", arXiv 2404.03683): a base with fluent format, mostly right arithmetic
and rare success, which is where reinforcement learning begins.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Options:
    """Shape and warm start of the model."""

    hidden_size: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 1
    intermediate_size: int = 192
    steps: int = 1500  # supervised updates
    traces: int = 48  # search traces an update
    learning_rate: float = 4e-3  # peak; linear warm-up, then cosine to a tenth
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for key in (
            "hidden_size",
            "layers",
            "heads",
            "kv_heads",
            "intermediate_size",
            "steps",
            "traces",
            "threads",
        ):
            if getattr(self, key) < 1:
                raise ValueError(f"model.{key}: {getattr(self, key)}; allowed: integers from 1")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"model.hidden_size: {self.hidden_size}; allowed: multiples of 2·heads = {2 * self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"model.kv_heads: {self.kv_heads}; allowed: divisors of heads = {self.heads}")
        if not self.learning_rate > 0:
            raise ValueError(f"model.learning_rate: {self.learning_rate}; allowed: numbers above 0")


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Train the model on the task's warm-start traces and write it to `out`; returns figures for the manifest."""
    import torch

    from softmax_rewards import dataset, tasks
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.decoder import Decoder, Shape
    from softmax_rewards.models.tokenizer import Tokenizer
    from softmax_rewards.objective import batches, token_log_probs
    from softmax_rewards.randomness import numpy_stream, torch_stream

    torch.set_num_threads(options.threads)
    module, task_options = tasks.load(task)
    puzzles = dataset.read(data, "warm_start")
    config = write_tokenizer(module.ALPHABET, out) | {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": options.hidden_size,
        "intermediate_size": options.intermediate_size,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "num_key_value_heads": options.kv_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    tokenizer = Tokenizer(out)
    model = Decoder(Shape.from_config(config)).initialise(torch_stream(options.seed, "initial weights"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0, foreach=True)
    draw = numpy_stream(options.seed, "warm start")
    window: list[float] = []
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.learning_rate * warmup_cosine(step, options.steps)
        chosen = [puzzles[index] for index in draw.integers(len(puzzles), size=options.traces)]
        prompts = [tokenizer.encode(module.prompt(puzzle, "compact")) for puzzle in chosen]
        answers = [
            [*tokenizer.encode(module.trace(puzzle, draw, task_options)), *tokenizer.eos_ids] for puzzle in chosen
        ]
        lengths = [len(answer) for answer in answers]
        completions = torch.tensor([answer + [0] * (max(lengths) - len(answer)) for answer in answers])
        loss = 0.0
        for batch in batches(prompts, completions, lengths, 1, range(len(chosen)), token_budget=2048):
            log_probs, _ = token_log_probs(model, batch)
            part = -log_probs.sum() / sum(lengths)
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        window = [*window[-49:], loss]
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            mean = sum(window) / len(window)
            print(f"[base model] step {step + 1}/{options.steps}  loss {mean:.4f} nats/token", flush=True)
    checkpoint.save(model, out, config)
    facts = {"template": "compact", "loss": sum(window) / len(window)}
    return facts | {"parameters": sum(p.numel() for p in model.parameters())}


def warmup_cosine(step: int, steps: int) -> float:
    """Share of the peak rate: linear over the first twentieth, then a cosine to one tenth."""
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2


def write_tokenizer(alphabet: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Write `tokenizer.json` and its settings for one token a symbol; returns the config keys that depend on it."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    from softmax_rewards.files import write_json

    vocabulary = {symbol: index for index, symbol in enumerate(("<pad>", "<eos>", "<unk>", *alphabet))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<unk>"])
    tokenizer.add_tokens([AddedToken(symbol, normalized=False) for symbol in alphabet if len(symbol) > 1])
    tokenizer.save(str(out / "tokenizer.json"))
    ends = {"eos_token_id": vocabulary["<eos>"], "pad_token_id": vocabulary["<pad>"]}
    write_json(ends, out / "generation_config.json")
    names = {"eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json({"tokenizer_class": "PreTrainedTokenizerFast", **names}, out / "tokenizer_config.json")
    return {"vocab_size": len(vocabulary), **ends}
