"""Chat forms that are known by their control tokens: how a model would be addressed that brings no chat template.

A base model often has the control tokens of its family's chat form in its vocabulary, and no template that uses them.
So that it can be asked whether it knows the form all the same, the form is looked up by those tokens. Only probes use
this: training, evaluation and serving take the model's own template, or none.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

# They open and close texts in pre-training too: no control tokens of a chat.
TEXT_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>", "<eos>", "<bos>", "</s>", "<s>")
# What ends a turn or a text in the families below; which of them a tokenizer has is looked up.
CLOSING_TOKENS = ("<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<eos>")


@dataclass(frozen=True)
class ChatForm:
    """A chat form: the tokens it is known by, and a template that writes it (no system turn, no tools)."""

    name: str
    control_tokens: tuple[str, ...]
    template: str


def _turns(before: str, between: str, after: str, *, opening: str = "", assistant: str = "assistant") -> str:
    """Return a template whose turns are `before role between content after`."""
    role = f"{{{{ '{assistant}' if message['role'] == 'assistant' else message['role'] }}}}"
    turn = f"{before}{role}{between}{{{{ message['content'] }}}}{after}"
    prompt = f"{{% if add_generation_prompt %}}{before}{assistant}{between}{{% endif %}}"
    return f"{opening}{{% for message in messages %}}{turn}{{% endfor %}}{prompt}"


FORMS = (
    ChatForm("ChatML", ("<|im_start|>", "<|im_end|>"), _turns("<|im_start|>", "\n", "<|im_end|>{{ '\\n' }}")),
    ChatForm(
        "Gemma",
        ("<start_of_turn>", "<end_of_turn>"),
        _turns("<start_of_turn>", "\n", "<end_of_turn>{{ '\\n' }}", opening="{{ bos_token or '' }}", assistant="model"),
    ),
    ChatForm(
        "Llama 3",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        _turns("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", opening="{{ bos_token or '' }}"),
    ),
    ChatForm("Phi", ("<|user|>", "<|assistant|>", "<|end|>"), _turns("<|", "|>\n", "<|end|>{{ '\\n' }}", opening="")),
)


def form_of(tokens: Container[str]) -> ChatForm | None:
    """Return the first form whose control tokens are all among `tokens`, or None."""
    return next((form for form in FORMS if all(token in tokens for token in form.control_tokens)), None)
