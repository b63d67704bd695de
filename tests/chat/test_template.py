"""Chat templates: the same text as transformers, and a sandbox around code from the internet."""

from __future__ import annotations

import json

import pytest

from tunewright.chat.folder import read_folder
from tunewright.chat.template import MAX_OUTPUT_CHARS, MAX_TEMPLATE_CHARS, ChatTemplate
from tunewright.errors import ModelError

HELLO = [{"role": "user", "content": "Hello <b> & ünï 🎉"}]


def test_filters_and_globals_write_what_transformers_writes(make_model):
    from transformers import AutoTokenizer

    template = """
    {%- for m in messages %}
        {%- if loop.first %}{% continue %}{% endif %}
        {{ m | tojson }} {{ m | tojson(indent=2) }}{% break %}
    {%- endfor %}
{% set ns = namespace(x=1) %}{% set ns.x = dict(a=messages[0].content) %}{{ ns.x | tojson }}
{{ strftime_now('%Y') }} {{ undefined_thing }} {{ eos_token }} {{ 'a' * 3 }} {{ 2 ** 3 }}"""
    folder = make_model(template)
    messages = HELLO * 3
    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(messages, tokenize=False)
    ours = read_folder(folder)
    assert ChatTemplate(ours.template, ours.special_tokens).render(messages) == theirs


def test_generation_blocks_report_their_characters():
    template = ChatTemplate(
        "{% for m in messages %}<{% generation %}{{ m.content }}{% endgeneration %}>{% endfor %}",
    )
    text, blocks = template.render_with_blocks([{"content": "ab"}, {"content": ""}, {"content": "🎉c"}])
    assert text == "<ab><><🎉c>"
    assert [text[left:right] for left, right in blocks] == ["ab", "", "🎉c"]


def test_a_template_that_raises_gives_its_own_words():
    with pytest.raises(ModelError, match="System role not supported"):
        ChatTemplate("{{ raise_exception('System role not supported') }}").render(HELLO)


def test_a_template_with_a_syntax_error_names_the_line():
    with pytest.raises(ModelError, match="line 2"):
        ChatTemplate("{{ messages }}\n{% for %}")


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{{ 'a' * 999999999999 }}",
        "{{ [1] * 999999999999 }}",
        "{{ 9 ** 999999999 }}",
        "{{ range(999999999) | list }}",
        "{{ dict.__init__ }}{{ raise_exception.__globals__['json'] }}",
        "{% include '/etc/hostname' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_hostile_template_code_ends_in_a_clean_error(attack):
    messages = [dict(HELLO[0])]
    with pytest.raises(ModelError):
        ChatTemplate(attack).render(messages)
    assert messages == HELLO


def test_a_template_that_writes_without_end_is_stopped():
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}"
    with pytest.raises(ModelError, match=f"more than {MAX_OUTPUT_CHARS:,} characters"):
        ChatTemplate(endless).render(HELLO)


def test_a_template_that_is_too_long_is_not_compiled():
    with pytest.raises(ModelError, match="characters"):
        ChatTemplate("x" * (MAX_TEMPLATE_CHARS + 1))


def test_the_template_in_the_folder_wins_over_the_one_in_the_config(make_model):
    folder = make_model("from the file", chat_template="from the config")
    assert read_folder(folder).template == "from the file"
    (folder / "chat_template.jinja").unlink()
    assert read_folder(folder).template == "from the config"


def test_of_several_named_templates_the_default_is_taken(make_model):
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    assert read_folder(make_model(None, chat_template=named)).template == "plain"
    with pytest.raises(ModelError, match="no chat template named 'default' among \\['tool_use'\\]"):
        read_folder(make_model(None, chat_template=named[:1]))


def test_a_model_without_a_chat_template_says_what_to_do(make_model):
    with pytest.raises(ModelError, match="no chat template") as caught:
        read_folder(make_model(None))
    assert "add chat_template.jinja to the folder, or use the instruct model" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_folder_without_a_tokenizer_or_with_a_broken_file_names_it(make_model, tmp_path):
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        read_folder(tmp_path)
    folder = make_model("x")
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: broken JSON"):
        read_folder(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        read_folder(folder)


def test_special_tokens_are_read_in_all_their_forms(make_model):
    folder = make_model("x", eos_token={"content": "<|im_end|>", "special": True}, pad_token=None, add_bos_token=True)
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "<|endoftext|>", "eos_token": "no"}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 3], "pad_token_id": 2}))
    read = read_folder(folder)
    assert read.special_tokens["eos_token"] == "<|im_end|>"
    assert read.special_tokens["unk_token"] == "<|endoftext|>"
    assert read.stop_token_ids == (read.tokenizer.token_to_id("<|im_end|>"), 1, 3)
    assert read.pad_token_id == 2
    assert read.context_length == 512
