"""How alike two texts are, each measure in [0, 1]: the definitions behind `text_similarity`.

    fuzzy_match  rapidfuzz' WRatio / 100 after its default processing (lower case, only letters and digits), as
                 OpenAI's guide calls it
    bleu         sentence BLEU as sacrebleu computes it: 13a tokens, exponential smoothing, effective order
    gleu         Google BLEU (Wu et al. 2016, arXiv:1609.08144): the smaller of precision and recall of all 1- to
                 4-grams; words split at blanks, as nltk's sentence_gleu on split texts
    meteor       METEOR (Banerjee & Lavie 2005) with exact matches of lower-cased words only: no stems, no synonyms,
                 since WordNet is a download; alpha .9, beta 3, gamma .5, as nltk without stemmer and synonyms
    rouge_1..5   F1 of the n-grams, rouge_l F1 of the longest common subsequence (Lin 2004); words are runs of letters
                 and digits, lower-cased, no stemming, as rouge_score without a stemmer, but of any script

An empty text is like nothing, not even another empty one: 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from tunewright.errors import MissingExtra

MAX_WORDS = 20_000

Words = Sequence[str]


def fuzzy_match(text: str, reference: str) -> float:
    """Return rapidfuzz' weighted ratio.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    try:
        from rapidfuzz import fuzz, utils
    except ImportError as error:
        raise MissingExtra.of(error, "eval") from None
    return float(fuzz.WRatio(text, reference, processor=utils.default_process)) / 100


def bleu(text: str, reference: str) -> float:
    """Return sentence BLEU (Papineni et al. 2002) with sacrebleu's settings for one sentence.

    With effective order only the n-gram orders that the text is long enough for count. An order without a match counts
    as 1 / (2^k * possible), k the number of such orders so far.
    """
    said, wanted = tokens_13a(text), tokens_13a(reference)
    if not said or not wanted:
        return 0.0
    logs, smooth = [], 1.0
    for order in range(1, 5):
        matched, possible = _matches(said, wanted, order)
        if possible == 0:
            break
        if matched == 0:
            smooth *= 2
        logs.append(math.log(matched / possible if matched else 1 / (smooth * possible)))
    if smooth == 2.0 ** len(logs):
        return 0.0  # not one word in common
    brevity = 1.0 if len(said) > len(wanted) else math.exp(1 - len(wanted) / len(said))
    return brevity * math.exp(sum(logs) / len(logs))


def gleu(text: str, reference: str) -> float:
    """Return Google BLEU."""
    said, wanted = text.split(), reference.split()
    pairs = [(_ngrams(said, order), _ngrams(wanted, order)) for order in range(1, 5)]
    matched = sum((ours & theirs).total() for ours, theirs in pairs)
    longest = max(sum(ours.total() for ours, _ in pairs), sum(theirs.total() for _, theirs in pairs))
    return matched / longest if longest else 0.0


def meteor(text: str, reference: str) -> float:
    """Return METEOR with exact matches: F_mean * (1 - 0.5 * (chunks / matches)^3)."""
    said, wanted = text.lower().split(), reference.lower().split()
    pairs = _align(said, wanted)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(said), len(pairs) / len(wanted)
    f_mean = precision * recall / (0.9 * precision + 0.1 * recall)
    adjacent = sum(b == (a[0] + 1, a[1] + 1) for a, b in pairwise(pairs))
    return f_mean * (1 - 0.5 * ((len(pairs) - adjacent) / len(pairs)) ** 3)


def _align(said: Words, wanted: Words) -> list[tuple[int, int]]:
    """Return matched positions as nltk pairs them: from the end, each word with the last free one of the reference."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(wanted):
        places.setdefault(word, []).append(place)
    free = ((place, places.get(word)) for place, word in reversed(list(enumerate(said))))
    return sorted((place, left.pop()) for place, left in free if left)


def rouge_n(text: str, reference: str, order: int) -> float:
    """Return the F1 of the n-grams of one order."""
    said, wanted = _ngrams(_words(text), order), _ngrams(_words(reference), order)
    return _f1((said & wanted).total(), said.total(), wanted.total())


def rouge_l(text: str, reference: str) -> float:
    """Return the F1 of the longest common subsequence of words."""
    said, wanted = _words(text), _words(reference)
    return _f1(longest_common_subsequence(said, wanted), len(said), len(wanted))


def longest_common_subsequence(left: Words, right: Words) -> int:
    """Return the length of the longest common subsequence, by bits (Hyyrö 2004): len(left) steps on big integers."""
    masks: dict[str, int] = {}
    for place, word in enumerate(right):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(right)) - 1
    state = full
    for word in left:
        matches = state & masks.get(word, 0)
        state = ((state + matches) | (state - matches)) & full
    return len(right) - state.bit_count()


def _f1(matched: int, said: int, wanted: int) -> float:
    return 2 * matched / (said + wanted) if matched else 0.0


def _matches(said: Words, wanted: Words, order: int) -> tuple[int, int]:
    ours = _ngrams(said, order)
    return (ours & _ngrams(wanted, order)).total(), ours.total()


def _ngrams(words: Words, order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def tokens_13a(text: str) -> list[str]:
    """Return the words as sacrebleu's `13a` tokenizer (mteval-v13a.pl) splits them."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, character)
    text = f" {text} "
    text = re.sub(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 ", text)
    text = re.sub(r"([^0-9])([\.,])", r"\1 \2 ", text)
    text = re.sub(r"([\.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the cosine of two vectors, 0 if one has no length; below 0 it counts as 0."""
    norm = math.hypot(*left) * math.hypot(*right)
    return max(0.0, sum(a * b for a, b in zip(left, right, strict=True)) / norm) if norm else 0.0


MEASURES: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{order}": partial(rouge_n, order=order) for order in range(1, 6)},
    "rouge_l": rouge_l,
}
