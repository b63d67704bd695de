"""Verifiable instructions: what may be asked of an answer's form, and whether an answer does it.

Our own checks, written from the definitions of IFEval (Zhou et al. 2023, arXiv:2311.07911), under its names and with
its arguments, so that its rows can be read as they are. Where a check differs from the published code, its docstring
says so under "Differs"; docs/suites.md lists these places. Each check takes the answer and the instruction's arguments,
and is linear in the answer's length.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tunewright.suites.answers import NoJSONError, json_of
from tunewright.suites.sentences import blocks, sentences

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

CHECKS: Final[dict[str, Check]] = {}
ARGUMENTS: Final[dict[str, tuple[str, ...]]] = {}
"""check -> the arguments it cannot do without"""


class BadInstructionError(ValueError):
    """An instruction that cannot be checked: no such check, or arguments it does not take."""


def follows(answer: str, name: str, arguments: Arguments) -> bool:
    """True if `answer` follows the instruction; an empty answer follows none.

    Raises:
        BadInstructionError: no such instruction, or arguments that it does not take.
    """
    if name not in CHECKS:
        raise BadInstructionError(f"no instruction {name!r}")
    if missing := [key for key in ARGUMENTS[name] if arguments.get(key) is None]:
        raise BadInstructionError(f"{name} lacks {', '.join(missing)}")
    try:
        return bool(answer.strip()) and CHECKS[name](answer, arguments)
    except (TypeError, AttributeError, ValueError) as error:
        if isinstance(error, BadInstructionError):
            raise
        raise BadInstructionError(f"{name} does not take {dict(arguments)}: {error}") from None


def _check(name: str, *arguments: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CHECKS[name], ARGUMENTS[name] = check, arguments
        return check

    return register


def _holds(count: int, relation: str, bound: int) -> bool:
    """Compare as IFEval says it: "at least", or "less than", which is strict."""
    if relation not in ("at least", "less than"):
        raise BadInstructionError(f"the relation {relation!r} is neither `at least` nor `less than`")
    return count >= bound if relation == "at least" else count < bound


def _trimmed(parts: list[str]) -> list[str] | None:
    """Return parts without an empty first and last one; None where one between them is empty."""
    kept = [part.strip() for part in parts]
    inner = [part for index, part in enumerate(kept) if part or 0 < index < len(kept) - 1]
    return inner if all(inner) else None


# ── keywords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@_check("keywords:existence", "keywords")
def all_keywords(answer: str, told: Arguments) -> bool:
    """Every keyword stands in the answer, in any case, also inside a word. Differs: a keyword is no regex."""
    return all(word.lower() in answer.lower() for word in told["keywords"])


@_check("keywords:frequency", "keyword", "frequency")
def keyword_frequency(answer: str, told: Arguments) -> bool:
    """The keyword stands so often, in any case, also inside a word. Differs: a keyword is no regex."""
    word = told["keyword"].strip().lower()
    return bool(word) and _holds(answer.lower().count(word), told.get("relation", "at least"), told["frequency"])


@_check("keywords:forbidden_words", "forbidden_words")
def no_forbidden_word(answer: str, told: Arguments) -> bool:
    r"""No forbidden word stands in the answer as a whole word, in any case. Differs: a word is no regex.

    A whole word has `\b` at each side, as published: a forbidden `C++` is only found right before a letter.
    """
    return not any(re.search(rf"\b{re.escape(word)}\b", answer, re.IGNORECASE) for word in told["forbidden_words"])


@_check("keywords:letter_frequency", "letter", "let_frequency")
def letter_frequency(answer: str, told: Arguments) -> bool:
    """The letter (or sign) stands so often, in any case."""
    letter = told["letter"].lower()
    return _holds(answer.lower().count(letter), told.get("let_relation", "at least"), told["let_frequency"])


# ── language and case ───────────────────────────────────────────────────────────────────────────────────────────────


@_check("language:response_language", "language")
def response_language(answer: str, told: Arguments) -> bool:
    """The whole answer is in the language, by its ISO 639-1 code, as `langdetect` sees it.

    Differs: seeded, so that the same answer is always the same language. Where nothing can be told, it counts as
    followed, as published.
    """
    try:
        langdetect = importlib.import_module("langdetect")
    except ImportError:
        raise BadInstructionError("language:response_language needs the package langdetect") from None
    langdetect.DetectorFactory.seed = 0
    try:
        return bool(langdetect.detect(answer) == told["language"])
    except langdetect.LangDetectException:
        return True


@_check("change_case:english_capital")
def all_capitals(answer: str, told: Arguments) -> bool:
    """No small letter, and one capital or more. Differs: that it is English is not checked."""
    return answer.isupper()


@_check("change_case:english_lowercase")
def all_lowercase(answer: str, told: Arguments) -> bool:
    """No capital, and one small letter or more. Differs: that it is English is not checked."""
    return answer.islower()


@_check("change_case:capital_word_frequency", "capital_frequency")
def capital_words(answer: str, told: Arguments) -> bool:
    """So many words are all capitals; `I` and `A` are.

    Differs: a word ends at white space, with the signs around it taken off; nltk's tokenizer also splits `DON'T` in
    two and `A,B` in three.
    """
    count = sum(word.strip(_SIGNS).isupper() for word in answer.split())
    return _holds(count, told.get("capital_relation", "at least"), told["capital_frequency"])


_SIGNS: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»…–—"


# ── length ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_check("length_constraints:number_words", "num_words")
def number_of_words(answer: str, told: Arguments) -> bool:
    r"""So many words: runs of letters, digits and _ (`\w+`), so that `don't` is two, as published."""
    count = sum(1 for _ in re.finditer(r"\w+", answer))
    return _holds(count, told.get("relation", "at least"), told["num_words"])


@_check("length_constraints:number_sentences", "num_sentences")
def number_of_sentences(answer: str, told: Arguments) -> bool:
    """So many sentences. Differs: our own rule (`sentences`), not nltk's trained Punkt."""
    return _holds(len(sentences(answer)), told.get("relation", "at least"), told["num_sentences"])


@_check("length_constraints:number_paragraphs", "num_paragraphs")
def number_of_paragraphs(answer: str, told: Arguments) -> bool:
    """Exactly so many paragraphs, divided by `***`; none between two dividers is empty."""
    paragraphs = _trimmed(answer.split("***"))
    return paragraphs is not None and len(paragraphs) == int(told["num_paragraphs"])


@_check("length_constraints:nth_paragraph_first_word", "num_paragraphs", "nth_paragraph", "first_word")
def nth_paragraph_first_word(answer: str, told: Arguments) -> bool:
    """Exactly so many paragraphs, divided by empty lines, and the nth begins with the word, in any case.

    Differs: empty paragraphs are not counted, also not in finding the nth; published code counts them in finding it. A
    divider is a line without text; published code wants two line feeds side by side.
    """
    paragraphs = list(blocks(answer))
    nth = told["nth_paragraph"]
    if len(paragraphs) != told["num_paragraphs"] or not 1 <= nth <= len(paragraphs):
        return False
    first = paragraphs[nth - 1].split()[0].lstrip("'\"")
    return _until_sign(first).lower() == str(told["first_word"]).lower()


def _until_sign(word: str) -> str:
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0]


# ── content ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@_check("detectable_content:number_placeholders", "num_placeholders")
def placeholders(answer: str, told: Arguments) -> bool:
    """At least so many placeholders in square brackets, `[name]`, each on one line."""
    return _count_spans(answer, "[", "]") >= int(told["num_placeholders"])


def _count_spans(text: str, opening: str, closing: str) -> int:
    """Count the shortest spans from `opening` to `closing` on one line, without overlaps, in linear time."""
    count = 0
    for line in text.split("\n"):
        begin = line.find(opening)
        while begin >= 0 and (end := line.find(closing, begin + len(opening))) >= 0:
            count += 1
            begin = line.find(opening, end + len(closing))
    return count


@_check("detectable_content:postscript", "postscript_marker")
def postscript(answer: str, told: Arguments) -> bool:
    """The marker of a postscript stands in the answer, in any case; `P.S.` and `P.P.S` with or without blanks inside.

    Differs: published code takes a marker of another form as a regex.
    """
    marker = told["postscript_marker"].strip().lower()
    if marker in ("p.s.", "p.p.s"):
        pattern = r"p\.\s?s\." if marker == "p.s." else r"p\.\s?p\.\s?s"
        return re.search(pattern, answer.lower()) is not None
    return marker in answer.lower()


# ── format ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@_check("detectable_format:number_bullet_lists", "num_bullets")
def bullets(answer: str, told: Arguments) -> bool:
    """Exactly so many lines that begin with `*` (not `**`) or `-`."""
    return sum(_is_bullet(line.lstrip()) for line in answer.split("\n")) == int(told["num_bullets"])


def _is_bullet(line: str) -> bool:
    return line.startswith("-") or (line.startswith("*") and len(line) > 1 and line[1] != "*")


@_check("detectable_format:constrained_response")
def constrained(answer: str, told: Arguments) -> bool:
    """One of `My answer is yes.`, `My answer is no.`, `My answer is maybe.` stands in the answer."""
    return any(f"My answer is {choice}." in answer for choice in ("yes", "no", "maybe"))


@_check("detectable_format:number_highlighted_sections", "num_highlights")
def highlights(answer: str, told: Arguments) -> bool:
    """At least so many highlighted parts, `*part*` or `**part**`, each on one line and not blank.

    As published, `**part**` counts by its double stars, and again wherever single stars around text can be read.
    """
    count = sum(_highlights(line, "*") + _highlights(line, "**") for line in answer.split("\n"))
    return count >= int(told["num_highlights"])


def _highlights(line: str, star: str) -> int:
    """Count `*part*`: a star, text without one, a star. Spans take turns: each star ends or begins one."""
    count, begin = 0, line.find(star)
    while begin >= 0:
        inside = begin + len(star)
        end = line.find("*", inside)
        if end < 0:
            break
        if line.startswith(star, end):
            count += bool(line[inside:end].strip())
            begin = line.find(star, end + len(star))
        else:
            begin = line.find(star, begin + 1)
    return count


@_check("detectable_format:multiple_sections", "section_spliter", "num_sections")
def sections(answer: str, told: Arguments) -> bool:
    """At least so many sections, each begun by the word and a number: `Section 1`. Differs: the word is no regex."""
    return len(re.findall(re.escape(told["section_spliter"]) + r"\s?\d+", answer)) >= int(told["num_sections"])


@_check("detectable_format:json_format")
def is_json(answer: str, told: Arguments) -> bool:
    """The whole answer is JSON, in a code fence or not. Differs: NaN, Infinity and a key twice are no JSON."""
    try:
        json_of(answer)
    except NoJSONError:
        return False
    return True


@_check("detectable_format:title")
def title(answer: str, told: Arguments) -> bool:
    """A title stands in double angular brackets on one line: `<<title>>`."""
    for line in answer.split("\n"):
        begin, end = line.find("<<"), line.rfind(">>")
        if 0 <= begin < end - 2 and line[begin : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


# ── combinations, begin and end, punctuation ────────────────────────────────────────────────────────────────────────


@_check("combination:two_responses")
def two_responses(answer: str, told: Arguments) -> bool:
    """Two different answers, divided by `******`."""
    parts = _trimmed(answer.split("******"))
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


@_check("combination:repeat_prompt", "prompt_to_repeat")
def repeats_prompt(answer: str, told: Arguments) -> bool:
    """The answer begins with the prompt, in any case."""
    return answer.strip().lower().startswith(told["prompt_to_repeat"].strip().lower())


@_check("startend:end_checker", "end_phrase")
def ends_with(answer: str, told: Arguments) -> bool:
    """The answer ends with the phrase, in any case; a quotation mark behind it does not count."""
    return answer.strip().strip('"').lower().endswith(told["end_phrase"].strip().lower())


@_check("startend:start_checker", "start_phrase")
def starts_with(answer: str, told: Arguments) -> bool:
    """The answer begins with the phrase, in any case; a quotation mark before it does not count. Ours, not IFEval's."""
    return answer.strip().strip('"').lower().startswith(told["start_phrase"].strip().lower())


@_check("startend:quotation")
def quoted(answer: str, told: Arguments) -> bool:
    """The whole answer stands in double quotation marks."""
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


@_check("punctuation:no_comma")
def no_comma(answer: str, told: Arguments) -> bool:
    """No comma."""
    return "," not in answer
