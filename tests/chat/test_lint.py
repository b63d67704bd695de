"""Template lint: silent on released templates with the control tokens of their models, loud on each planted fault."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest
from tests.chat.conftest import byte_level
from tests.chat.test_masks import CHATML, FAMILIES, LLAMA3, MISTRAL
from tokenizers import Tokenizer, processors

from tunewright.artifacts.verdict import Status
from tunewright.chat.folder import read_folder
from tunewright.chat.lint import lint_template
from tunewright.errors import ModelError
from tunewright.gates.format import control_tokens_are_real, end_of_turn_stops, one_bos

CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
         "<|python_tag|>", "<|reserved_special_token_0|>"]  # fmt: skip
DEEPSEEK = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"] + [
    f"<｜tool▁{name}｜>" for name in (
        "calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep", "outputs▁begin", "outputs▁end", "output▁begin",
        "output▁end",
    )
]  # fmt: skip
GEMMA4 = ["<bos>", "<eos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>",
          "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|think|>"]  # fmt: skip
COHERE = ["<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>",
          "<|SYSTEM_TOKEN|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"]  # fmt: skip
GLM = ["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
GPT_OSS = ["<|start|>", "<|message|>", "<|end|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>"]
LFM = [*CHAT, "<|startoftext|>"] + [
    f"<|tool_{name}_{end}|>" for name in ("list", "call", "response") for end in ("start", "end")
]
MUSE = ["<|begin_of_text|>", "<|start|>", "<|message|>", "<|eot|>", "<|eom|>", "<|end|>"]
PHI = ["<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]

# prefix of the file -> control tokens of the released tokenizer, its BOS, its EOS, where its generation_config stops
RELEASED = {
    "cohere": (COHERE, "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", []),
    "deepseek": (DEEPSEEK, DEEPSEEK[0], DEEPSEEK[1], [DEEPSEEK[1]]),
    "diffusion_gemma": (GEMMA4, "<bos>", "<turn|>", []),
    "gemma4": (GEMMA4, "<bos>", "<turn|>", ["<eos>", "<turn|>"]),
    "gemma": (["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", ["<eos>", "<end_of_turn>"]),
    "glm4moe": (GLM, None, "<|endoftext|>", ["<|endoftext|>", "<|user|>", "<|observation|>"]),
    "gptoss": (GPT_OSS, None, "<|return|>", ["<|return|>", "<|call|>"]),
    "idefics3": (["<|begin_of_text|>", "<end_of_utterance>"], "<|begin_of_text|>", "<end_of_utterance>", []),
    "lfm2": (LFM, "<|startoftext|>", "<|im_end|>", ["<|im_end|>"]),
    "llama3": (LLAMA, "<|begin_of_text|>", "<|eot_id|>", ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]),
    "llava": (["<s>", "</s>"], "<s>", "</s>", ["</s>"]),
    "muse": (MUSE, "<|begin_of_text|>", "<|eot|>", []),
    "nemotron": ([*CHAT, "<s>", "</s>"], "<s>", "<|im_end|>", ["</s>", "<|im_end|>"]),
    "phi3": (PHI, "<s>", "<|endoftext|>", ["<|endoftext|>", "<|assistant|>", "<|end|>"]),
    "qwen": (CHAT, None, "<|im_end|>", ["<|im_end|>", "<|endoftext|>"]),
    "smolvlm": ([*CHAT, "<end_of_utterance>"], "<|im_start|>", "<end_of_utterance>", []),
}
# GLM's own template writes nothing behind an answer: the `<|user|>` of the next turn ends it. TRL's variant adds it.
TEACH_NO_END = {"glm4moe"}


def trl_templates() -> list[Path]:
    spec = importlib.util.find_spec("trl")
    places = spec.submodule_search_locations if spec else None
    return sorted((Path(places[0]) / "chat_templates").glob("*.jinja")) if places else []


@cache
def trained_on(special):
    return byte_level([*special]).to_str()


def make_folder(folder, template, special, bos, eos, served=(), adds_bos=False):
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer.from_str(trained_on(tuple(special)))
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos, "eos_token": eos}))
    (folder / "config.json").write_text("{}")
    if served:
        ids = [tokenizer.token_to_id(token) for token in served]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    (folder / "chat_template.jinja").write_text(template)
    return folder


def verdicts(folder):
    facts = lint_template(read_folder(folder))
    return {one.name: one for one in (control_tokens_are_real(facts), one_bos(facts), end_of_turn_stops(facts))}


@pytest.mark.skipif(not trl_templates(), reason="trl is not installed")
def test_released_templates_with_the_tokens_of_their_models_pass_in_silence(tmp_path):
    looked_at = 0
    for file in (file for file in trl_templates() if not file.stem.endswith("_training")):
        family = next(key for key in RELEASED if file.name.startswith(key))
        try:
            found = verdicts(make_folder(tmp_path / file.stem, file.read_text(encoding="utf-8"), *RELEASED[family]))
        except ModelError:  # templates for images take no plain text
            continue
        looked_at += 1
        wrong = {name: verdict.measured for name, verdict in found.items() if verdict.status is not Status.PASSED}
        assert set(wrong) == ({"end_of_turn_stops"} if file.stem in TEACH_NO_END else set()), (file.name, wrong)
    assert looked_at >= 35


@pytest.mark.parametrize(
    "name", sorted(set(FAMILIES) - {"phi3"})
)  # the toy of phi3 has no `<|system|>`, and is told so
def test_the_toy_families_pass(name, make_model):
    template, special, kind, end = FAMILIES[name]
    folder = make_model(template, special, kind, eos_token=end)
    assert all(verdict.status is Status.PASSED for verdict in verdicts(folder).values())


def test_the_real_smollm2_passes(smollm2_folder):
    assert all(verdict.status is Status.PASSED for verdict in verdicts(smollm2_folder).values())


# ── planted faults ──────────────────────────────────────────────────────────────────────────────────────────────────

ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("calls_tools", "status"), [(False, Status.PASSED), (None, Status.WARNED), (True, Status.FAILED)]
)
def test_a_text_that_only_tools_need_counts_where_there_are_tools(tmp_path, calls_tools, status):
    """Phi 3.5 knows no `<|tool|>`, and a template that writes each role as `<|role|>` would write it."""
    any_role = ZEPHYR.replace("eos_token", "'<|end|>'")
    facts = lint_template(read_folder(make_folder(tmp_path, any_role, PHI, "<s>", "<|end|>")))
    verdict = control_tokens_are_real(facts, calls_tools=calls_tools)
    assert verdict.status is status, verdict
    assert ("`<|tool|>`" in verdict.measured and "for tools" in verdict.measured) is (calls_tools is not False)


def test_invented_control_tokens_are_named_with_what_the_model_really_uses(tmp_path):
    special = [*LLAMA, "<|reserved_special_token_1|>"]
    folder = make_folder(tmp_path / "x", "{{ bos_token }}" + ZEPHYR, special, "<|begin_of_text|>", "<|eot_id|>")
    verdict = verdicts(folder)["control_tokens_are_real"]
    assert verdict.status is Status.FAILED
    assert "`<|user|>`" in verdict.measured and "`<|assistant|>`" in verdict.measured
    assert "`<|eot_id|>`" in verdict.remedy and "reserved" not in verdict.remedy + verdict.measured
    assert "nearest" not in verdict.measured or "<|" in verdict.measured


def test_the_nearest_real_token_is_named(tmp_path):
    template = CHATML.replace("<|im_end|>", "<|im_ends|>")
    verdict = verdicts(make_folder(tmp_path / "x", template, CHAT, None, "<|im_end|>"))["control_tokens_are_real"]
    assert verdict.status is Status.FAILED
    assert "`<|im_ends|>` (" in verdict.measured and "nearest `<|im_end|>`" in verdict.measured


def test_a_header_in_plain_text_is_only_a_warning_where_the_model_has_no_control_tokens_of_that_form(tmp_path):
    found = verdicts(make_folder(tmp_path / "x", ZEPHYR, ["<s>", "</s>"], "<s>", "</s>"))
    assert found["control_tokens_are_real"].status is Status.WARNED
    assert found["end_of_turn_stops"].status is Status.PASSED


def test_chatml_on_a_tokenizer_without_its_tokens_fails_since_nothing_ends_a_turn(tmp_path):
    found = verdicts(make_folder(tmp_path / "x", CHATML, ["<s>", "</s>"], "<s>", "</s>"))
    assert found["control_tokens_are_real"].status is Status.FAILED
    assert found["end_of_turn_stops"].status is Status.FAILED
    assert "`<|im_end|>`, which is no token" in found["end_of_turn_stops"].measured


def test_a_double_bos_fails(tmp_path):
    folder = make_folder(tmp_path / "x", "{{ bos_token }}" + LLAMA3, LLAMA, LLAMA[0], "<|eot_id|>", adds_bos=True)
    verdict = verdicts(folder)["one_bos"]
    assert verdict.status is Status.FAILED and verdict.measured.startswith("2 × `<|begin_of_text|>`")


def test_a_bos_that_the_tokenizer_would_add_again_is_no_fault(tmp_path):
    folder = make_folder(tmp_path / "x", LLAMA3, LLAMA, LLAMA[0], "<|eot_id|>", adds_bos=True)
    assert verdicts(folder)["one_bos"].status is Status.PASSED


def test_a_template_without_the_bos_that_the_model_knows_warns(tmp_path):
    template = LLAMA3.replace("{{ bos_token }}", "")
    folder = make_folder(tmp_path / "x", template, LLAMA, LLAMA[0], "<|eot_id|>", adds_bos=True)
    assert verdicts(folder)["one_bos"].status is Status.WARNED


def test_a_template_that_ends_no_turn_fails(tmp_path):
    template = MISTRAL.replace(" + eos_token", "")
    verdict = verdicts(make_folder(tmp_path / "x", template, ["<s>", "</s>"], "<s>", "</s>"))["end_of_turn_stops"]
    assert verdict.status is Status.FAILED and "no control token" in verdict.measured
    assert "`</s>`" in verdict.remedy


def test_an_end_of_turn_that_nothing_stops_at_fails(tmp_path):
    """Llama 3 as it was first released: `<|eot_id|>` behind answers, `<|end_of_text|>` as eos."""
    folder = make_folder(tmp_path / "x", LLAMA3, LLAMA, LLAMA[0], "<|end_of_text|>", ["<|end_of_text|>"])
    verdict = verdicts(folder)["end_of_turn_stops"]
    assert verdict.status is Status.FAILED
    assert "answers end with `<|eot_id|>`; eos is `<|end_of_text|>`" in verdict.measured
    assert "generation_config.json" in verdict.remedy


def test_an_end_of_turn_that_generation_config_forgets_warns(tmp_path):
    folder = make_folder(tmp_path / "x", LLAMA3, LLAMA, LLAMA[0], "<|eot_id|>", ["<|end_of_text|>"])
    assert verdicts(folder)["end_of_turn_stops"].status is Status.WARNED


def test_a_control_token_that_is_matched_only_as_a_word_is_no_token_inside_a_text(tmp_path):
    folder = make_folder(tmp_path / "x", CHATML, CHAT, None, "<|im_end|>")
    spec = json.loads((folder / "tokenizer.json").read_text())
    for token in spec["added_tokens"]:
        token["single_word"] = True
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    assert verdicts(folder)["control_tokens_are_real"].status is Status.FAILED
