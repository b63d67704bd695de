"""Chat templates of real families in short, with the control tokens each needs. Fault and clean twin share them.

All mark what the assistant says with `{% generation %}`, so that trainers which need the mark see the same mask.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A template and its tokens."""

    template: str
    tokens: tuple[str, ...]
    """the control tokens; the tokenizer holds each as one"""
    eos: str
    bos: str | None = None
    adds_bos: bool = False
    """the tokenizer puts `bos` in front of a text by itself"""
    takes_system: bool = True
    stops: tuple[str, ...] = ()
    """what generation_config.json names beside `eos`"""


_CHATML = """\
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}\
{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + \
'<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}\
{% endif %}"""

_CHATML_TOOLS = """\
{% if tools %}{{ '<|im_start|>system\\n' }}{% if messages[0]['role'] == 'system' %}\
{{ messages[0]['content'] + '\\n\\n' }}{% endif %}{{ 'Tools:' }}{% for tool in tools %}{{ '\\n' + (tool | tojson) }}\
{% endfor %}{{ '<|im_end|>\\n' }}\
{% endif %}{% for message in messages %}{% if not (tools and loop.first and message['role'] == 'system') %}\
{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}{% generation %}\
{{ message['content'] or '' }}{% for call in message.get('tool_calls') or [] %}{{ '<tool_call>\\n' + \
({'name': call['function']['name'], 'arguments': call['function']['arguments']} | tojson) + '\\n</tool_call>' }}\
{% endfor %}{{ '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}\
{{ '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

_CHATML_DEFAULT_SYSTEM = (
    """{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}\
{% endif %}"""
    + _CHATML
)

_LLAMA3 = """\
{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\
{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] | trim + '<|eot_id|>' }}\
{% endgeneration %}{% else %}{{ message['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

_GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}\
{{ '<start_of_turn>' + role + '\\n' }}{% if role == 'model' %}{% generation %}{{ message['content'] | trim + \
'<end_of_turn>' }}{% endgeneration %}{% else %}{{ message['content'] | trim + '<end_of_turn>' }}{% endif %}{{ '\\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

_MISTRAL = """\
{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + \
' [/INST]' }}{% elif message['role'] == 'assistant' %}{% generation %}{{ ' ' + message['content'] + eos_token }}\
{% endgeneration %}{% else %}{{ raise_exception('Only user and assistant roles are supported') }}\
{% endif %}{% endfor %}"""

_PHI = """\
{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' }}{% if message['role'] == 'assistant' %}\
{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|end|>' }}\
{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"""

_CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

FAMILIES: dict[str, Family] = {
    "chatml": Family(_CHATML, _CHATML_TOKENS, "<|im_end|>"),
    "chatml-default-system": Family(_CHATML_DEFAULT_SYSTEM, _CHATML_TOKENS, "<|im_end|>"),
    "chatml-tools": Family(_CHATML_TOOLS, (*_CHATML_TOKENS, "<tool_call>", "</tool_call>"), "<|im_end|>"),
    "chatml-unmarked": Family(
        _CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", ""), _CHATML_TOKENS, "<|im_end|>"
    ),
    "llama3": Family(
        _LLAMA3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|begin_of_text|>",
        adds_bos=True,
    ),
    "gemma": Family(
        _GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<eos>",
        "<bos>",
        True,
        False,
        ("<end_of_turn>",),
    ),
    "mistral": Family(_MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>", True, False),
    "phi": Family(_PHI, ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
}
