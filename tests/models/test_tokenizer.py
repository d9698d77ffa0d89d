"""Tokenizer and chat template, against transformers on the same folders."""

import json

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as HFTokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from softmax_rewards.models import chat_template
from softmax_rewards.models.tokenizer import Tokenizer

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The essentials of the template of Qwen2.5: a default system prompt, tools, ChatML.
QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""  # noqa: E501

# The essentials of Llama 3's: BOS from the settings, a date, the content stripped, a generation tag.
LLAMA = """{{- bos_token }}
{%- if strftime_now is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- else %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message['role'] == 'tool' %}{% continue %}{% endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- generation %}{{- message['content'] | trim + '<|eot_id|>' }}{%- endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TEXTS = [
    "",
    " ",
    "a",
    "Let me solve this step by step.\n<think>",
    "  two  spaces,\ttabs\r\n\n\nand lines \n",
    "naïve café — Ωμέγα, 数学 и тест",
    "👩‍🔬🇩🇪 e\u0301 and é",
    "1234567890 3.14 (1 + 2) / 3",
    "<|im_start|>user\nspecial<|im_end|> and <|eot_id|>, <|begin_of_text|>",
    "don't I'll WE'RE",
    "\x00\x7f\ufeff\u200b",
]

CONVERSATIONS = [
    [{"role": "user", "content": "Hello 👋"}],
    [{"role": "system", "content": "Be <b>brief</b> & true."}, {"role": "user", "content": "  2+2?\n"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}, {"role": "user", "content": "c"}],
]
STARTS = ["Let me solve this step by step.\n<think>", "a ", " a\n", "x"]


def byte_level(specials, **parts):
    """A byte-level BPE tokenizer with some merges of its own."""
    tokenizer = HFTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "Let me solve this step by step by step. numbers equals assistant"], trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    return tokenizer


def write(folder, tokenizer, settings, ends, template=None):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps(ends))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    tokenizer = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizer=normalizers.NFC())
    named = {"add_bos_token": False, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": QWEN}
    start = tokenizer.token_to_id("<|endoftext|>")
    ends = {"eos_token_id": [start, start + 2], "pad_token_id": start}
    return write(tmp_path_factory.mktemp("made") / "qwen", tokenizer, named, ends)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = byte_level(specials)
    bos = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)]),
        ]
    )
    tokenizer.enable_truncation(4)  # must not reach a prompt
    settings = {
        "bos_token": {"__type": "AddedToken", "content": "<|begin_of_text|>", "special": True},
        "eos_token": "<|eot_id|>",
    }
    ends = {"eos_token_id": [bos + 1, bos + 4]}
    return write(tmp_path_factory.mktemp("made") / "llama", tokenizer, settings, ends, LLAMA)


@pytest.fixture(params=["qwen", "llama"])
def both(request, monkeypatch):
    """(ours, transformers' own) of one folder, with the same idea of today."""
    folder = request.getfixturevalue(request.param)

    class Clock(chat_template.datetime):
        @classmethod
        def now(cls, tz=None):
            return chat_template.TODAY

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    return Tokenizer(folder), PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_cut_and_joined_as_by_transformers(both, text):
    ours, theirs = both
    ids = theirs.encode(text, add_special_tokens=False)
    assert ours.encode(text) == ids
    assert ours.decode(ids) == theirs.decode(ids)
    assert ours.decode_batch([ids, ids[:2]]) == theirs.batch_decode([ids, ids[:2]])
    _, prompt = ours.prompt(text)
    assert prompt == theirs.encode(text, add_special_tokens=True)


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_conversations_are_written_as_by_transformers(both, messages):
    ours, theirs = both
    text, ids = ours.prompt(messages)
    assert text == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ids == theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("messages", CONVERSATIONS[:2])
def test_a_begun_answer_is_continued_as_by_transformers(both, messages, start):
    ours, theirs = both
    messages = [*messages, {"role": "assistant", "content": start}]
    given = json.dumps(messages)
    text, ids = ours.prompt(messages)
    assert text == theirs.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert ids == theirs.apply_chat_template(messages, continue_final_message=True)["input_ids"]
    assert json.dumps(messages) == given
    assert text.rstrip().endswith(start.strip())


def test_text_begins_as_the_tokenizer_begins_and_never_ends(llama, qwen, tmp_path):
    tokenizer = Tokenizer(llama)
    bos = tokenizer.encode("<|begin_of_text|>")
    assert tokenizer.prompt("a b") == ("<|begin_of_text|>a b", [*bos, *tokenizer.encode("a b")])
    assert Tokenizer(qwen).prompt("a b") == ("a b", Tokenizer(qwen).encode("a b"))
    closed = HFTokenizer.from_file(str(llama / "tokenizer.json"))
    pair = [("<|begin_of_text|>", bos[0]), ("<|eot_id|>", bos[0] + 4)]
    closed.post_processor = processors.TemplateProcessing("<|begin_of_text|> $A <|eot_id|>", special_tokens=pair)
    folder = write(tmp_path / "closed", closed, {}, {"eos_token_id": bos[0] + 4})
    assert [Tokenizer(folder).prompt(text)[1] for text in ("", "a")] == [bos, [*bos, *tokenizer.encode("a")]]


def test_several_ends_and_the_one_that_answers_end_with(qwen, llama, tmp_path):
    tokenizer = Tokenizer(qwen)
    end, turn = tokenizer.encode("<|endoftext|><|im_end|>")
    assert (tokenizer.eos_ids, tokenizer.end_id, tokenizer.pad_id) == ([end, turn], turn, end)
    tokenizer = Tokenizer(llama)
    end, turn = tokenizer.encode("<|end_of_text|><|eot_id|>")
    assert (tokenizer.eos_ids, tokenizer.end_id, tokenizer.pad_id) == ([end, turn], turn, end)
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "config", hf, {}, {"temperature": 1.0})
    with pytest.raises(ValueError, match=r"generation_config\.json: eos_token_id is missing"):
        Tokenizer(folder)
    (folder / "config.json").write_text('{"eos_token_id": 3, "pad_token_id": -1}')
    tokenizer = Tokenizer(folder)
    assert (tokenizer.eos_ids, tokenizer.end_id, tokenizer.pad_id) == ([3], 3, 3)


def test_where_the_template_stands(qwen, tmp_path):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    folder = write(tmp_path / "named", hf, {"chat_template": named}, {"eos_token_id": 3})
    assert Tokenizer(folder).chat_template == "yes"
    (folder / "chat_template.jinja").write_text("file")
    assert Tokenizer(folder).prompt(CONVERSATIONS[0])[0] == "file"
    bare = write(tmp_path / "bare", hf, {}, {"eos_token_id": 3})
    assert Tokenizer(bare).chat_template is None
    with pytest.raises(ValueError, match=r"bare: no chat template, so it takes no messages"):
        Tokenizer(bare).prompt(CONVERSATIONS[0])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__['os'].system('true') }}",
        "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__.json }}",
        "{{ strftime_now.__self__.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ dict.mro() }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{% set x = messages | map(attribute='__class__') | list %}{{ x[0].__name__ }}",
        "{% set ignored = messages.append(1) %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ range(10**9) }}",
        "{{ raise_exception('\x1b]0;title\x07') }}",
        "{{ 'a' * 10**17 }}",
        "{% for i in range(99999) %}a text of more than ten{% endfor %}",
        "{{ raise_exception('two\\nlines') }}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('roles must alternate') }}",
        "{% for %}",
    ],
)
def test_a_template_reaches_nothing_but_the_conversation(qwen, tmp_path, template):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "evil", hf, {}, {"eos_token_id": 3}, template)
    with pytest.raises(ValueError, match=r"evil/chat_template\.jinja: chat template: ") as error:
        Tokenizer(folder).prompt(CONVERSATIONS[0])
    assert str(error.value).isprintable()


def test_an_error_of_a_template_is_one_line(qwen, tmp_path):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "folder", hf, {"chat_template": "{{ raise_exception('a\n\n b') }}"}, {"eos_token_id": 3})
    with pytest.raises(ValueError, match=r"folder/tokenizer_config\.json: chat template: a b$"):
        Tokenizer(folder).prompt(CONVERSATIONS[0])
    (folder / "chat_template.jinja").write_text("{{ 'a' * 10**17 }}")
    with pytest.raises(ValueError, match=r"folder/chat_template\.jinja: chat template: MemoryError$"):
        Tokenizer(folder).prompt(CONVERSATIONS[0])


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer_config.json", b"[1]", "list; a JSON object is needed"),
        ("tokenizer_config.json", b'{"a": "\xff"}', "not a readable JSON file"),
        ("tokenizer_config.json", b'{"chat_template": 5}', r"chat_template: 5; allowed: text, or a list of"),
        ("tokenizer_config.json", b'{"chat_template": [{"x": 1}]}', r'chat_template: \[\{"x": 1\}\]; allowed: text'),
        ("tokenizer_config.json", b'{"chat_template": [1]}', r"chat_template: \[1\]; allowed: text"),
        (
            "tokenizer_config.json",
            b'{"chat_template": [{"name": "default", "template": 1}]}',
            "chat_template: 1; allowed: text",
        ),
        ("special_tokens_map.json", b"[]", "list; a JSON object is needed"),
        ("chat_template.jinja", b"\xff", "not a readable text"),
        ("generation_config.json", b"[2]", "list; a JSON object is needed"),
        ("generation_config.json", b"\xff", "not a readable JSON file"),
        ("generation_config.json", b'{"eos_token_id": []}', r"eos_token_id: \[\]; allowed: an id or a list of ids"),
        ("generation_config.json", b'{"eos_token_id": "</s>"}', 'eos_token_id: "</s>"; allowed: an id'),
        ("generation_config.json", b'{"eos_token_id": [2, null]}', r"eos_token_id: \[2, null\]; allowed: an id"),
        ("generation_config.json", b'{"eos_token_id": true}', "eos_token_id: true; allowed: an id"),
        ("generation_config.json", b'{"eos_token_id": -1}', "eos_token_id: -1; allowed: an id"),
        ("generation_config.json", b'{"eos_token_id": 2, "pad_token_id": [0]}', r"pad_token_id: \[0\]; allowed: an id"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(qwen, tmp_path, file, content, said):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "folder", hf, {}, {"eos_token_id": 3})
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=rf"folder/{file}: {said}") as error:
        Tokenizer(folder)
    assert "\n" not in str(error.value)


def test_ids_must_be_those_of_the_model(qwen):
    tokenizer = Tokenizer(qwen)
    largest = max(tokenizer.eos_ids)
    tokenizer.check(largest + 1)
    with pytest.raises(ValueError, match=rf"generation_config\.json: eos_token_id: {largest}; allowed: ids below"):
        tokenizer.check(largest)


def test_a_template_that_drops_the_begun_answer_is_refused(qwen, tmp_path):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "drops", hf, {}, {"eos_token_id": 3}, "{{ messages[0].content }}")
    with pytest.raises(ValueError, match=r"drops the beginning of the assistant's message"):
        Tokenizer(folder).prompt([*CONVERSATIONS[0], {"role": "assistant", "content": "So"}])


def test_json_in_a_template_is_not_escaped_for_html(qwen, tmp_path):
    hf = HFTokenizer.from_file(str(qwen / "tokenizer.json"))
    folder = write(tmp_path / "json", hf, {}, {"eos_token_id": 3}, "{{ messages[0] | tojson }}")
    assert Tokenizer(folder).prompt([{"role": "user", "content": "<é & 'x'>"}])[0] == (
        """{"role": "user", "content": "<é & 'x'>"}"""
    )


def test_a_tokenizer_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a readable tokenizer"):
        Tokenizer(tmp_path)


def test_ids_without_a_token_decode_to_nothing(qwen):
    tokenizer = Tokenizer(qwen)
    ids = tokenizer.encode("a b")
    assert tokenizer.decode([*ids, 10**6]) == "a b"
    assert tokenizer.decode_batch([[10**6], ids]) == ["", "a b"]
