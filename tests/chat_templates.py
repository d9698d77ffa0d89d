"""What chat templates of real models do with an answer and its thought, in few lines. Tools are left out.

A base model's tokenizer with one of them is written by `write`.
"""

from tokenizers import Tokenizer, pre_tokenizers, processors

from softmax_rewards.models.sources import _byte_level

# SmolLM2: a default system message. Every message is closed.
SMOLLM2 = r"""{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

# SmolLM3: the system message has a head, and switches thinking off with /no_think. Then an answer begins with an empty
# thought.
SMOLLM3 = r"""{%- set mode = '/no_think' if '/no_think' in messages[0].content else '/think' -%}
{{- '<|im_start|>system\n## Metadata\n\nToday Date: ' ~ strftime_now('%d %B %Y') ~ '\nReasoning Mode: ' ~ mode }}
{{- '\n\n' ~ messages[0].content.replace('/no_think', '').rstrip() ~ '<|im_end|>\n' }}
{%- set opening = '<|im_start|>assistant\n' if mode == '/think' else '<|im_start|>assistant\n<think>\n\n</think>\n' %}
{%- for message in messages[1:] %}
    {%- if message.role == 'assistant' %}
        {% generation %}{{- opening + message.content.lstrip('\n') + '<|im_end|>\n' }}{% endgeneration %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- opening }}{% endif %}"""

# Qwen3 (hybrid): the last answer gets a thought, an empty one if it has none. Earlier answers lose theirs.
# `enable_thinking=False` closes an empty thought in front of a new answer.
QWEN3 = r"""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(last_query=messages|length - 1, searching=true) %}
{%- for message in messages[::-1] %}
    {%- if ns.searching and message.role == 'user' %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = messages|length - 1 - loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content, thought = message.content, '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query %}
            {%- set content = '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""
NEW = "    {{- '<|im_start|>assistant\\n' }}\n    {%- if enable"
# Qwen3-Thinking-2507: as Qwen3, but a new answer begins with `<think>`.
QWEN3_THINKING = QWEN3.replace(NEW, NEW.replace("assistant\\n", "assistant\\n<think>\\n"))
# Small Qwen3.5: as Qwen3, but a new answer begins with an empty thought unless thinking is asked for.
QWEN3_QUIET = QWEN3.replace(NEW, NEW.replace("assistant\\n", "assistant\\n<think>\\n\\n</think>\\n\\n"))
# Qwen3-Instruct-2507: no thoughts at all.
QWEN3_INSTRUCT = QWEN3.replace("'<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + ", "")

# DeepSeek-R1-Distill: earlier thoughts are dropped, and a new answer begins with `<think>`.
R1_DISTILL = r"""{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<｜User｜>' + message.content }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1] %}
        {{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"""

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write(folder, template):
    """Write a tokenizer of bytes with the chat template into `folder`, as older checkpoints keep it. Returns it."""
    folder.mkdir(exist_ok=True)
    names = {"pad_token": SPECIAL[0], "bos_token": SPECIAL[0], "eos_token": SPECIAL[2]}
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    _byte_level.write_tokenizer(folder, tokens, [], names, SPECIAL, template)
    return folder


def begin_with_bos(folder):
    """Let the tokenizer in `folder` put its BOS before every text, as Llama's and DeepSeek's do."""
    file = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.post_processor = processors.TemplateProcessing(f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], 0)])
    tokenizer.save(file)
