"""Do our text similarities equal those of sacrebleu, nltk and rouge_score? Writes what these return for 240 pairs.

    python benchmarks/similarity_oracles.py tests/graders/similarity_oracles.json

Needs sacrebleu, nltk and rouge-score, which this project does not: run it in an environment of their own. The pairs are
made from a seed: sentences that are shuffled, cut, repeated, and changed in case and punctuation.
"""

from __future__ import annotations

import json
import random
import sys
from importlib.metadata import version
from pathlib import Path

SEED = 7
PAIRS = 240
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "On 3 May, 1,024 people (mostly students) came; 17.5% stayed until 10:30.",
    "It's a well-known fact: e-mails aren't letters, are they?",
    'She said "no" twice & left -- the door was open.',
    "To be, or not to be, that is the question",
    "A b c d e f g a b c d e f g",
    "the the the the the",
    "Berlin is the capital of Germany and Paris is the capital of France .",
    "Answer: 42",
    "x = y + 2 * (z - 1) / 3.14",
)


class NoWordnet:
    """Stands for WordNet where no synonyms are wanted."""

    def synsets(self, word: str) -> list[str]:
        """Return no synonyms."""
        return []


class NoStemmer:
    """Stands for a stemmer where words are matched as they are."""

    def stem(self, word: str) -> str:
        """Return the word."""
        return word


def make_pair(chance: random.Random) -> tuple[str, str]:
    """Return a text and a reference."""
    reference = chance.choice(SENTENCES)
    words = (reference if chance.random() < 0.8 else chance.choice(SENTENCES)).split()
    for _ in range(chance.randint(0, 4)):
        change = chance.choice(("swap", "drop", "repeat", "case", "other"))
        place = chance.randrange(len(words))
        if change == "swap":
            chance.shuffle(words)
        elif change == "drop" and len(words) > 1:
            del words[place]
        elif change == "repeat":
            words.insert(place, words[place])
        elif change == "case":
            words[place] = words[place].swapcase()
        else:
            words[place] = chance.choice(("cat", "of", "seven", "1,000", "non-trivial"))
    return " ".join(words), reference


def measure(text: str, reference: str) -> dict[str, float | str]:
    """Return what the oracles give for one pair."""
    from nltk.translate.gleu_score import sentence_gleu
    from nltk.translate.meteor_score import single_meteor_score
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    kinds = [*(f"rouge{order}" for order in range(1, 6)), "rougeL"]
    rouge = RougeScorer(kinds).score(reference, text)
    words, wanted = text.split(), reference.split()
    return {
        "text": text,
        "reference": reference,
        "bleu": BLEU(effective_order=True).sentence_score(text, [reference]).score / 100,
        "gleu": sentence_gleu([wanted], words),
        "meteor": single_meteor_score(wanted, words, stemmer=NoStemmer(), wordnet=NoWordnet()),
        **{kind.lower().replace("rouge", "rouge_"): rouge[kind].fmeasure for kind in kinds},
    }


def main() -> None:
    """Write the file."""
    chance = random.Random(SEED)
    pairs = [measure(*make_pair(chance)) for _ in range(PAIRS)]
    versions = {name: version(name) for name in ("sacrebleu", "nltk", "rouge-score")}
    Path(sys.argv[1]).write_text(json.dumps({"versions": versions, "pairs": pairs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
