"""One training step, rollout and update, of this project and of others, interleaved on the same work.

    python benchmarks/step.py --peers grpo-zero=../GRPO-Zero --out benchmarks/results/step.json

All begin each step from the same weights, the base model of an experiment, on the same prompts, with the same number
of samples, longest answer and threads. That they do the same work is checked: equal loss on one fixed batch, and as
many tokens a step up to chance.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from machine import write_result

from softmax_rewards import config, dataset, sources, tasks, weighting
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.rollout import Completions, Episodes, play
from softmax_rewards.run import Run
from softmax_rewards.tasks import Score
from softmax_rewards.update import Updater


@dataclass(frozen=True)
class Work:
    """What every trainer is given."""

    run: Run
    base: Path
    puzzles: list[dict[str, Any]]  # of one step


@dataclass(frozen=True)
class Step:
    """Seconds of the two halves of a step, and the tokens it generated."""

    rollout: float
    update: float
    tokens: int


class Project:
    """This project."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.tokenizer = Tokenizer(work.base)

    def step(self, seed: int) -> Step:
        run, settings = self.work.run, self.work.run.training
        policy = checkpoint.load(self.work.base)
        updater = Updater(settings, seed, policy)
        began = time.perf_counter()
        episodes = play(
            policy,
            self.tokenizer,
            run.task,
            self.work.puzzles,
            template="compact",
            samples=settings.samples,
            max_new_tokens=settings.max_new_tokens,
            limits=updater.limits,
            stream=(seed, "benchmark"),
        )
        sampled = time.perf_counter()
        weights = weighting.compute("linear", episodes.field("reward"), episodes.field("correct", bool))
        updater.update(0, episodes, weights)
        return Step(sampled - began, time.perf_counter() - sampled, int(episodes.lengths.sum()))

    def loss(self, answers: list[list[int]], rewards: np.ndarray) -> float:
        """The loss of fixed answers, one group a puzzle, in the order of the puzzles."""
        run = self.work.run
        module, _ = tasks.load(run.task)
        texts, prompts = zip(
            *(self.tokenizer.prompt(module.prompt(p, "compact")) for p in self.work.puzzles), strict=True
        )
        longest = max(map(len, answers))
        tokens = torch.tensor([[*answer, *[0] * (longest - len(answer))] for answer in answers])
        lengths = torch.tensor([len(answer) for answer in answers])
        drawn = Completions(tokens, torch.zeros(tokens.shape), lengths, torch.ones(len(answers), dtype=torch.bool))
        scores = [Score(float(reward), False, False, 0, 0, False) for reward in rewards.ravel()]
        episodes = Episodes(prompts, texts, drawn, [""] * len(answers), scores, rewards.shape[1])
        weights = weighting.compute("linear", rewards, rewards > 0)
        return Updater(run.training, 0, checkpoint.load(self.work.base)).update(0, episodes, weights)["loss"]


class GRPOZero:
    """A checkout of GRPO-Zero, as it is: its model, its rollout, its update; our verifier."""

    def __init__(self, work: Work, checkout: Path) -> None:
        self.work = work
        sys.path.insert(0, str(checkout))
        self.grpo, self.types, self.model, self.optimizer = (
            importlib.import_module(name) for name in ("grpo", "data_types", "qwen2_model", "optimizer")
        )
        tokenizer = Tokenizer(work.base)
        self.tokenizer = SimpleNamespace(
            eos_token="<eos>", eos_token_id=tokenizer.eos_ids[0], pad_token_id=tokenizer.pad_id,
            detokenize=tokenizer.decode,
        )  # fmt: skip
        module, options = tasks.load(work.run.task)
        texts, prompts = zip(*(tokenizer.prompt(module.prompt(p, "compact")) for p in work.puzzles), strict=True)
        self.batch = self.types.MiniBatch(
            prefix=list(texts),
            prefix_tokens=[list(text) for text in texts],
            prefix_token_ids=list(prompts),
            numbers=[puzzle["nums"] for puzzle in work.puzzles],
            target=[puzzle["target"] for puzzle in work.puzzles],
        )

        def reward(response: str, numbers: Any, target: int, end_token: str) -> dict[str, Any]:
            score = module.score(response.removesuffix(end_token), {"nums": numbers, "target": target}, options)
            return {"reward": score.reward, "reward_info": {"answer_reward": float(score.correct)}}

        self.reward = reward
        self.folder = tempfile.TemporaryDirectory()
        values = checkpoint.read_config(work.base) | {
            "attention_dropout": 0.0, "bos_token_id": 0, "initializer_range": 0.02, "max_window_layers": 99,
            "sliding_window": None, "use_sliding_window": False, "use_cache": True, "torch_dtype": "float32",
        }  # fmt: skip
        (Path(self.folder.name) / "config.json").write_text(json.dumps(values))
        (Path(self.folder.name) / "model.safetensors").symlink_to((work.base / "model.safetensors").resolve())

    def fresh(self) -> tuple[Any, Any]:
        """The model with the base weights, and its optimiser."""
        model = self.model.Transformer.from_pretrained(self.folder.name, device=torch.device("cpu")).train()
        rate = self.work.run.training.learning_rate
        return model, self.optimizer.MemoryEfficientAdamW(model.parameters(), lr=rate, weight_decay=0.0, enabled=False)

    def step(self, seed: int) -> Step:
        settings = self.work.run.training
        model, adamw = self.fresh()
        torch.manual_seed(seed)
        began = time.perf_counter()
        episodes = self.grpo.rollout(
            model, self.batch, self.tokenizer, settings.max_new_tokens, settings.samples, self.reward,
            torch.device("cpu"), torch.float32,
        )  # fmt: skip
        sampled = time.perf_counter()
        self.update(model, adamw, episodes, rows=64)
        tokens = sum(len(episode.generated_token_ids) for episode in episodes)
        return Step(sampled - began, time.perf_counter() - sampled, tokens)

    def update(self, model: Any, adamw: Any, episodes: list[Any], rows: int) -> dict[str, float]:
        return self.grpo.update_policy(
            model, adamw, episodes, rows, self.tokenizer.pad_token_id, 1.0, torch.device("cpu"), torch.float32
        )

    def loss(self, answers: list[list[int]], rewards: np.ndarray) -> float:
        """As `Project.loss`; GRPO-Zero tells the loss of its last micro-batch only, so there is one."""
        batch, samples = self.batch, rewards.shape[1]
        episodes = [
            self.types.Episode(
                prefix=batch.prefix[row // samples], text="", prefix_token_ids=batch.prefix_token_ids[row // samples],
                prefix_tokens=[], generated_token_ids=answer, is_finished=True, reward=reward, reward_info={},
            )
            for row, (answer, reward) in enumerate(zip(answers, rewards.ravel().tolist(), strict=True))
        ]  # fmt: skip
        return self.update(*self.fresh(), episodes, rows=len(episodes))["loss"]


PEERS: dict[str, Callable[..., Any]] = {"grpo-zero": GRPOZero}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help=f"name=<checkout>, with commas; names: {', '.join(PEERS)}")
    parser.add_argument("--experiment", default="countdown-mini")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--base", type=Path, help="folder of the base model; made anew without it")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    experiment = config.load(Path("config/experiments") / f"{arguments.experiment}.yaml")
    run = experiment.run(experiment.baseline, 0)
    with tempfile.TemporaryDirectory() as folder:
        data, base = Path(folder, "data"), arguments.base or Path(folder, "base")
        dataset.write(experiment.task, data)
        if arguments.base is None:
            sources.build(experiment.model, experiment.task, data, base)
        torch.set_num_threads(arguments.threads)
        work = Work(run, base, dataset.read(data, "train", run.training.prompts))
        trainers: dict[str, Any] = {"project": Project(work)}
        for name, _, place in (peer.partition("=") for peer in arguments.peers.split(",") if peer):
            trainers[name] = PEERS[name](work, Path(place).resolve())
        results = {"losses": losses(trainers, work), "steps": steps(trainers, arguments.steps)}
    report(results)
    write_result(arguments.out, f"step of {arguments.experiment}", results | {"threads": arguments.threads})


def losses(trainers: dict[str, Any], work: Work) -> dict[str, float]:
    """The loss of every trainer on the same answers and rewards."""
    draw, samples = np.random.default_rng(0), work.run.training.samples
    answers = [draw.integers(3, 20, size=draw.integers(2, 40)).tolist() for _ in range(len(work.puzzles) * samples)]
    rewards = draw.choice([0.0, 0.1, 1.1], size=(len(work.puzzles), samples))
    return {name: trainer.loss(answers, rewards) for name, trainer in trainers.items()}


def steps(trainers: dict[str, Any], count: int) -> dict[str, list[dict[str, float]]]:
    """Every trainer's steps, taken in turns after one that does not count."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in trainers}
    for seed in range(count + 1):
        for name, trainer in trainers.items():
            step = trainer.step(seed)
            if seed:
                taken[name].append(vars(step))
    return taken


def report(results: dict[str, Any]) -> None:
    """Medians, spreads and the ratios to the project's own."""
    own = results["steps"]["project"]
    print("\ntrainer     loss       tokens   rollout s      update s       step s         ratio")
    for name, taken in results["steps"].items():
        seconds = [[step["rollout"] for step in taken], [step["update"] for step in taken]]
        seconds.append([sum(pair) for pair in zip(*seconds, strict=True)])
        ratio = statistics.median(seconds[2]) / statistics.median(s["rollout"] + s["update"] for s in own)
        cells = "  ".join(f"{statistics.median(s):5.2f} ± {(max(s) - min(s)) / 2:4.2f}" for s in seconds)
        tokens = statistics.median(step["tokens"] for step in taken)
        print(f"{name:10}  {results['losses'][name]:9.6f}  {tokens:6.0f}  {cells}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
