"""What tasks write, and whether transformers reads it like our tokenizer."""

import functools

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from softmax_rewards.data import tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer

SMALL = {"train": 2, "warm_start": 10, "test": 2}
TASKS = {
    "countdown": {"name": "countdown", "numbers": 2, **SMALL},
    "multiplication": {"name": "multiplication", **SMALL},
    "gsm8k": {"name": "gsm8k"},
}
PROBLEM = {"question": "A naïve man has 3 bags\nof 4 pens. How many?", "solution": "He has 3*4 = 12.", "answer": "12"}


@functools.cache
def rows(name):
    module, options = tasks.load(TASKS[name])
    return [PROBLEM] if name == "gsm8k" else module.build(options)["warm_start"].to_dict("records")


def texts(task, template, tokenizer):
    """Prompts with whole traces and reference answers behind them."""
    module, options = tasks.load(task)
    rng = np.random.default_rng(0)
    for row in rows(task["name"]):
        prompt, _ = tokenizer.prompt(module.prompt(row, template))
        yield prompt + module.trace(row, rng, options, template)
        yield prompt + module.reference_answer(row, template)


def check_tokenizer(folder, template, names):
    ours = Tokenizer(folder)
    for theirs in (AutoTokenizer.from_pretrained(folder), PreTrainedTokenizerFast.from_pretrained(folder)):
        assert len(theirs) <= checkpoint.read_config(folder)["vocab_size"]
        assert (theirs.eos_token_id, theirs.pad_token_id) == (ours.end_id, ours.pad_id)
        for name in names:
            spelled = list(texts(TASKS[name], template, ours))
            ids = [ours.encode(text) for text in spelled]
            assert theirs(spelled).input_ids == ids
            assert [theirs.decode(row) for row in ids] == ours.decode_batch(ids) == spelled
