"""Do our instruction checks say what IFEval's published code says?

    python -m benchmarks.instructions_parity --oracle PYTHON [--write]

PYTHON is an interpreter with lm-eval 0.4.13 (`--no-deps` will do), langdetect, nltk, immutabledict and packaging: an
environment of its own. It checks the same answers against the same instructions with lm-eval, strict and loose; our
suite follows, and every difference is shown. `--write` writes the verdicts to tests/suites/golden/ifeval_verdicts.json,
one digit an answer: 2 followed, 1 followed in a loose form only, 0 not.

In the oracle, and only there: nltk's tokenizers need no download (words are split by Treebank's rules over the whole
answer, without Punkt in front), langdetect says "en" (ours does not look at the language of a capital), and the number
of sentences is left out, for it is whatever Punkt was trained to.
"""

import argparse
import json
import random
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

GOLDEN = Path("tests/suites/golden/ifeval_verdicts.json")
SEED = 7
RANDOM_ANSWERS = 250

FIXED = [
    "Yes.", "My answer is yes.", "My answer is no. Or maybe.", "my answer is maybe.", '"All of it is quoted, twice."',
    '"half', "ALL IN CAPITALS. EVERY WORD OF IT, AND MORE", "all lower case, with 3 digits.",
    "<<A title>>\nText under it.", "<<>> no title", "Text << with one >> inside", "<<<>>>", '{"a": [1, 2], "b": null}',
    '```json\n{"a": 1}\n```', "```\n[1]\n```", "{'a': 1}", "one\n***\ntwo\n***\nthree", "***\none\n***\ntwo",
    "one\n***\n***\ntwo", "one *** two ***", "first\n******\nsecond", "same\n******\nsame",
    "******first******second******", "* one\n* two\n* three", "- one\n  - two\n* three\n** four", "* one\n\n* two",
    "*one* and *two* and **three**", "** ** and * *", "**a** *b* c*", "***all***",
    "Section 1\ntext\nSection 2\ntext\nSECTION 3", "Section1 Section 2", "Section one",
    "Dear [name], I live in [town] [street].", "[[nested]] and [open", "[split\nover] lines []",
    "Body.\nP.S. Remember the sea.", "Body.\nP. S. Remember.", "Body.\nP.P.S. More", "Body. p.s. small", "P.S",
    "Note: PS: none", "However, it rains.\n\nThe sea is blue.\n\nBut not now.", "'However' it rains.\n\n\"The\" sea.",
    "However.\n\n\n\nThe end.", "THE USA and NASA saw I and A in the U.S. of 2024", "Don't AND can't",
    "The sea, the Sea; the seaside. Season of the SEA!", "is that all? is there anything else i can help with?",
    "Any more questions?", 'He said "Any more questions?"', "Any more questions? ",
    "Write about the sea. The sea is wide.", "write about the sea.\nwide", "no commas here at all", "one, two",
    "The the the the the the", "eeee eeee", "A walk.\nA party.\nArt for all.", "ART", "tart", "the art-work", "",
    "   \n ", "DON'T go", "NASA,ESA went", "NaN", "```json\n{}", "*\n* one\n*", '{"a": 1, "a": 2}',
    "one\n \nHowever two", "Sécurité, ÉTÉ",
]  # fmt: skip

FRAGMENTS = [
    "The sea is wide", "NASA LAUNCHED", "However", "art", "seaside", "Art,", "it's", "don't", "well-known", "\n",
    "\n\n", "***", "******", "* item", "- item", "\n* item", "\n- item", "*note*", "**bold**", "[name]",
    "[date of birth]", "Section 1", "\nSection 2\n", "P.S. bye", "<<Title>>", ".", ".", "!", "?", ",", '"', "The end.",
    "any more questions?", "I", "A", "e", "2024", "é", "end", "the", "Then we go.", "Mr. Smith", "e.g.",
    "My answer is no.", "P.P.S", "\n***\n", "\n******\n", "Write about the sea.",
]  # fmt: skip

INSTRUCTIONS = [
    ("keywords:existence", {"keywords": ["sea"]}), ("keywords:existence", {"keywords": ["art", "the"]}),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}),
    ("keywords:frequency", {"keyword": "the", "frequency": 3, "relation": "less than"}),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}),
    ("keywords:forbidden_words", {"forbidden_words": ["sea", "end"]}),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 5, "let_relation": "at least"}),
    ("keywords:letter_frequency", {"letter": "t", "let_frequency": 4, "let_relation": "less than"}),
    ("length_constraints:number_words", {"num_words": 8, "relation": "at least"}),
    ("length_constraints:number_words", {"num_words": 12, "relation": "less than"}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "however"}),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "the"}),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}), ("detectable_format:constrained_response", {}),
    ("detectable_format:json_format", {}), ("detectable_format:title", {}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 3}),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}),
    ("combination:two_responses", {}), ("combination:repeat_prompt", {"prompt_to_repeat": "Write about the sea."}),
    ("startend:end_checker", {"end_phrase": "Any more questions?"}), ("startend:end_checker", {"end_phrase": "end."}),
    ("startend:quotation", {}), ("punctuation:no_comma", {}), ("change_case:english_capital", {}),
    ("change_case:english_lowercase", {}),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}),
    ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": "less than"}),
]  # fmt: skip


def answers() -> list[str]:
    """Return the answers: those written by hand, and some drawn from fragments with a seed."""
    rng = random.Random(SEED)
    drawn = [" ".join(rng.choices(FRAGMENTS, k=rng.randint(2, 14))) for _ in range(RANDOM_ANSWERS)]
    return [*FIXED, *drawn]


def main() -> int:
    """Return 0 where only the differences that docs/suites.md lists are left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", required=True, help="a Python that has lm-eval")
    parser.add_argument("--write", action="store_true", help="write the verdicts for the tests")
    options = parser.parse_args()
    given = json.dumps({"answers": answers(), "instructions": INSTRUCTIONS})
    done = subprocess.run([options.oracle, __file__, "emit"], input=given, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the oracle failed:\n{done.stderr}")
    verdicts = json.loads(done.stdout)
    differing = compare(verdicts)
    if options.write:
        write(verdicts, differing)
    return 0


def compare(verdicts: list[str]) -> list[tuple[str, int]]:
    """Print agreement a check, and every difference; return the differences as (check, answer)."""
    asked, agreed, differing = Counter(), Counter(), []
    texts = answers()
    for (name, told), verdict in zip(INSTRUCTIONS, verdicts, strict=True):
        for index, (text, theirs) in enumerate(zip(texts, verdict, strict=True)):
            ours = verdict_of(text, name, told)
            asked[name] += 1
            agreed[name] += ours == theirs
            if ours != theirs:
                differing.append((name, index))
                print(f"differs: {name} {told}: ours {ours}, theirs {theirs}: {text!r}")
    for name in asked:
        print(f"{name:<50}{agreed[name]:>6} of {asked[name]}")
    digits = Counter("".join(verdicts))
    print(f"the oracle says: {digits['2']} followed, {digits['1']} in a loose form only, {digits['0']} not")
    print(f"{'all':<50}{sum(agreed.values()):>6} of {sum(asked.values())}; {len(set(differing))} answers differ")
    return differing


def verdict_of(text: str, name: str, told: dict) -> str:
    """Return our suite's verdict as a digit."""
    from tunewright.artifacts.dataset import ChatRow
    from tunewright.suites.instructions import score_instructions

    row = ChatRow(id="r", messages=[], meta={"instructions": [{"id": name, **told}]})
    (verdict,) = score_instructions(text, row).parsed
    return str(verdict["strict"] + verdict["loose"])


def write(verdicts: list[str], differing: list[tuple[str, int]]) -> None:
    """Write the golden file."""
    cases = [
        {"id": name, "arguments": told, "verdicts": verdict}
        for (name, told), verdict in zip(INSTRUCTIONS, verdicts, strict=True)
    ]
    golden = {"oracle": "lm-eval 0.4.13", "differences": differing, "answers": answers(), "cases": cases}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(f"written to {GOLDEN}")


# ── in the other interpreter ────────────────────────────────────────────────────────────────────────────────────────


def emit() -> None:
    """Read answers and instructions from stdin, and print lm-eval's verdicts: a text of digits an instruction."""
    given = json.load(sys.stdin)
    published = published_code()
    print(json.dumps([verdicts_of(published, name, told, given["answers"]) for name, told in given["instructions"]]))


def published_code() -> types.ModuleType:
    """Return lm-eval's module, loaded from its files: importing the package would ask for all it depends on."""
    import importlib
    import importlib.util

    import langdetect
    import nltk

    nltk.download = nltk.data.find = lambda *args, **more: True
    nltk.word_tokenize = nltk.tokenize.destructive.NLTKWordTokenizer().tokenize
    langdetect.detect = lambda text: "en"
    root = Path(importlib.util.find_spec("lm_eval").origin).parent
    for name, folder in (
        ("lm_eval", root),
        ("lm_eval.tasks", root / "tasks"),
        ("lm_eval.tasks.ifeval", root / "tasks/ifeval"),
    ):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    return importlib.import_module("lm_eval.tasks.ifeval.utils")


def verdicts_of(published: types.ModuleType, name: str, told: dict, texts: list[str]) -> str:
    """Return lm-eval's verdict on each answer as a digit."""
    asked = published.InputExample(key=0, instruction_id_list=[name], prompt="", kwargs=[told])
    tests = (published.test_instruction_following_strict, published.test_instruction_following_loose)
    return "".join(str(sum(test(asked, text).follow_all_instructions for test in tests)) for text in texts)


if __name__ == "__main__":
    sys.exit(emit() if sys.argv[1:] == ["emit"] else main())
