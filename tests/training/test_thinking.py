"""Every prompt that begins an answer ends with one open thought, whatever the chat template does with thoughts."""

import importlib.util
from pathlib import Path

import chat_templates
import pytest
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from softmax_rewards.data import tasks
from softmax_rewards.models import chat_template
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import thinking

COUNTDOWN, _ = tasks.load({"name": "countdown"})
PROMPT = COUNTDOWN.prompt({"nums": [3, 4, 5], "target": 17}, "chat")
ANSWER = PROMPT[-1]["content"]
IM = "<|im_end|>\n<|im_start|>assistant\n"
# Template → the header of an answer, and whether the template must be changed.
TEMPLATES = {
    "SMOLLM2": (IM, False),
    "SMOLLM3": (IM, False),
    "QWEN3": (IM, True),
    "QWEN3_THINKING": (IM, True),
    "QWEN3_QUIET": (IM, True),
    "QWEN3_INSTRUCT": (IM, False),
    "R1_DISTILL": ("<｜Assistant｜>", False),
}
OTHERS = [
    PROMPT[:2],
    PROMPT[1:2],
    [*PROMPT[:2], {"role": "assistant", "content": "<answer>5</answer>"}],
    [*PROMPT[:2], {"role": "assistant", "content": "<think>\n3 + 4\n</think>\n7"}, PROMPT[1]],
    [*PROMPT[:2], {"role": "assistant", "content": f"{ANSWER} 3 + 4 </think>\n7"}],
]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_ends_with_one_open_thought(tmp_path, name):
    header, must_change = TEMPLATES[name]
    folder = chat_templates.write(tmp_path / "model", getattr(chat_templates, name))
    before = Tokenizer(folder).prompt(PROMPT)[0]
    assert before.endswith(PROMPT[1]["content"] + header + ANSWER) is not must_change
    assert thinking.keep_open(folder) is must_change
    tokenizer = Tokenizer(folder)
    assert tokenizer.prompt(PROMPT)[0].endswith(PROMPT[1]["content"] + header + ANSWER)
    assert thinking.is_changed(tokenizer.chat_template) is must_change
    assert (folder / thinking.FILE).exists() is must_change
    assert not thinking.keep_open(folder)  # a trained model brings its changed template


@pytest.mark.parametrize("name", TEMPLATES)
def test_transformers_writes_the_same(tmp_path, monkeypatch, name):
    """With the folder's template. All conversations without an open thought are written as before."""

    class Clock(chat_template.datetime):
        @classmethod
        def now(cls, tz=None):
            return chat_template.TODAY

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    folder = chat_templates.write(tmp_path / "model", getattr(chat_templates, name))
    original = PreTrainedTokenizerFast.from_pretrained(folder)
    changed = thinking.keep_open(folder)
    ours, theirs = Tokenizer(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    text, ids = ours.prompt(PROMPT)
    assert theirs.apply_chat_template(PROMPT, tokenize=False, continue_final_message=True) == text
    assert theirs.apply_chat_template(PROMPT, continue_final_message=True)["input_ids"] == ids
    if changed:  # such a template also serves a trainer that always asks for a new answer
        assert theirs.apply_chat_template(PROMPT, tokenize=False, add_generation_prompt=True) == text
    for messages in OTHERS:
        for more in ({"add_generation_prompt": True}, {}, {"add_generation_prompt": True, "enable_thinking": False}):
            expected = original.apply_chat_template(messages, tokenize=False, **more)
            assert theirs.apply_chat_template(messages, tokenize=False, **more) == expected


# The templates of the models themselves, where TRL is installed, which has copies of them.
PUBLISHED = {
    "qwen2_5": (IM, False),
    "qwen3": (IM, True),
    "qwen3_instruct_2507": (IM, False),
    "qwen3_5_think": (IM, True),
    "qwen3_5_nothink": (IM, True),
    "qwen3_6": (IM, True),
    "glm4moe": ("<|assistant|>", True),
    "deepseek_r1_distill": ("<｜Assistant｜>", False),
    "llama3_2": ("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", False),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_templates(tmp_path, name):
    trl = importlib.util.find_spec("trl")
    file = Path(trl.origin).parent / "chat_templates" / f"{name}.jinja" if trl else None
    if file is None or not file.is_file():
        pytest.skip(f"TRL with its chat template {name} is not installed")
    folder = chat_templates.write(tmp_path / "model", file.read_text(encoding="utf-8"))
    header, must_change = PUBLISHED[name]
    assert thinking.keep_open(folder) is must_change
    assert Tokenizer(folder).prompt(PROMPT)[0].endswith(PROMPT[1]["content"] + header + ANSWER)


@pytest.mark.parametrize(
    "template",
    [
        # It begins every answer with words of thought, which cannot be told from words of the header.
        "{% for m in messages %}{{ m.role + ': <think>Okay, ' * (m.role == 'assistant') + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: <think>Okay, {% endif %}",
        # It closes a thought behind every question.
        "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if m.role == 'user' %}<think></think>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    ],
)
def test_a_template_that_cannot_be_changed_is_refused_and_kept(tmp_path, template):
    folder = chat_templates.write(tmp_path / "odd", template)
    with pytest.raises(ValueError, match=r"odd: the chat template does not leave a thought open: .*template: base$"):
        thinking.keep_open(folder)
    assert not (folder / thinking.FILE).exists()
