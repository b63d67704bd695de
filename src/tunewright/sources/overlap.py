"""Does a training row ask what an evaluation row asks? An index of the evaluation rows; training rows stream past it.

    exact   the same words in the user's turns, five or more; or the same answer too, and five with it
    turn    a turn of the training row is the last of the evaluation row, question and answer, 13 words or more together
    json    the same after JSON in the text is put into one form (keys sorted, blanks and 1.0 made alike)
    8-gram  one training row holds 70% or more of the evaluation row's runs of 8 words (PaLM, arXiv:2204.02311, app. C)
    13-gram the same for runs of 13 words (the length is GPT-3's, arXiv:2005.14165, app. C)
    near    the runs of 3 words of the two rows have a Jaccard similarity of 0.8 or more

`near` is what MinHash estimates. Evaluation sets are small enough to have it exactly, from the index.

Two things keep clean data silent. Runs of words, and turns, that stand in many rows of one evaluation set, or in many
training rows, are their template, not their question, and do not count; a row with fewer than five other runs is
judged by its exact words alone. And two rows are different tasks, even where the user says the same, if their answers
call different functions, or one calls and the other was offered tools and does not; or if their answers differ and
their formulas do: 7 + 4 is not 7 - 4.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.sources.text import calls_of, content_of, question, shingles, spoken, with_canonical_json, words

EXACT_WORDS: Final = 5
TURN_WORDS: Final = 13
"""of question and answer: "Where did they go then?", "Home." is said in many talks"""
NEAR_RUN: Final = 3
BOUNDS: Final = {8: 0.7, 13: 0.7}
"""words in a run -> share of an evaluation row's runs that one training row may not hold"""
NEAR: Final = 0.8
LEAST_RUNS: Final = 5
TEMPLATE_ROWS: Final = 3
TEMPLATE_SHARE: Final = 0.02
"""A run of words in more evaluation rows than this (whichever is more) is a template's."""
TEMPLATE_TRAIN_ROWS: Final = 8
"""The same for training rows; more, since a row that leaked may stand there several times, with words around it."""
SHOWN_CHARS: Final = 240
_OPERATOR: Final = re.compile(r"(?<=[\d)])\s{0,9}([-+*/^%<>=]{1,3})\s{0,9}(?=[\d(])")
"""Between numbers, so that hyphens and bullets are none."""


@dataclass(frozen=True)
class Overlap:
    """A training row and the evaluation row it gives away. `share` is 1 for exact ones."""

    kind: str
    share: float
    train_id: str
    test_id: str
    test_set: str
    train_text: str
    test_text: str


Turn = tuple[str, str]
"""what the user asks, its words joined, and what is answered"""


@dataclass
class _Asked:
    """One row, as it is compared."""

    row: ChatRow
    words: list[str]
    called: frozenset[str]
    answer: str
    json_words: list[str] | None
    operators: list[str]
    turns: list[Turn | None]
    """None for one that says too little"""
    num_runs: dict[int, int] = field(default_factory=dict)
    """words in a run -> how many runs count, for an evaluation row that has enough of them"""
    template_runs: int = 0
    """how many runs of NEAR_RUN words do not count"""


class EvaluationIndex:
    """The evaluation rows of one or several sets, ready to be compared with training rows.

    Args:
        sets: name of a set -> its rows.
    """

    def __init__(self, sets: Mapping[str, Iterable[ChatRow]]):
        self._rows = [(name, _asked(row)) for name, rows in sets.items() for row in rows]
        self._exact: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._json: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._turns = self._index_turns()
        self._holders: dict[int, dict[str, list[int]]] = {}
        for number, (_, asked) in enumerate(self._rows):
            self._exact[tuple(asked.words)].append(number)
            if asked.json_words is not None:
                self._json[tuple(asked.json_words)].append(number)
        for size in (NEAR_RUN, *BOUNDS):
            self._holders[size] = self._index_runs(size)

    def __len__(self) -> int:
        return len(self._rows)

    def _index_turns(self) -> dict[Turn | None, list[int]]:
        """Keep the last turn of every row, but for those that many rows of one set end with."""
        found: dict[Turn | None, list[int]] = defaultdict(list)
        for number, (_, asked) in enumerate(self._rows):
            if asked.turns and asked.turns[-1] is not None:
                found[asked.turns[-1]].append(number)
        most = self._most_in_a_set()
        return {
            turn: numbers
            for turn, numbers in found.items()
            if all(count <= most[name] for name, count in Counter(self._rows[n][0] for n in numbers).items())
        }

    def _most_in_a_set(self) -> dict[str, float]:
        """Return, by set, how many of its rows may hold what is no template."""
        rows_in = Counter(name for name, _ in self._rows)
        return {name: max(TEMPLATE_ROWS, TEMPLATE_SHARE * count) for name, count in rows_in.items()}

    def _index_runs(self, size: int) -> dict[str, list[int]]:
        """Keep the runs that are no template's of their own set, in the rows that have enough of them."""
        found = [_runs(asked.words, size) for _, asked in self._rows]
        rows_with: dict[str, Counter[str]] = defaultdict(Counter)
        for (name, _), runs in zip(self._rows, found, strict=True):
            rows_with[name].update(runs)
        most = self._most_in_a_set()
        holders: dict[str, list[int]] = defaultdict(list)
        for number, ((name, _), runs) in enumerate(zip(self._rows, found, strict=True)):
            own = {run for run in runs if rows_with[name][run] <= most[name]}
            if len(own) >= LEAST_RUNS:
                self._rows[number][1].num_runs[size] = len(own)
                if size == NEAR_RUN:
                    self._rows[number][1].template_runs = len(runs) - len(own)
                for run in own:
                    holders[run].append(number)
        return dict(holders)

    def leave_out_templates_of(self, train: Iterable[ChatRow]) -> None:
        """Count no runs that many training rows hold: a template, though the evaluation set has few rows of it."""
        num_rows, held, turns = 0, {size: Counter[str]() for size in self._holders}, Counter[Turn | None]()
        for row in train:
            num_rows += 1
            turns.update(turn for turn in set(_turns(row)) if turn in self._turns)
            listed = words(question(row))
            for size, holders in self._holders.items():
                held[size].update(run for run in _runs(listed, size) if run in holders)
        most = max(TEMPLATE_TRAIN_ROWS, TEMPLATE_SHARE * num_rows)
        for turn, count in turns.items():
            if count > most:
                del self._turns[turn]
        for size, rows_with in held.items():
            self._leave_out(size, [run for run, count in rows_with.items() if count > most])

    def _leave_out(self, size: int, runs: Iterable[str]) -> None:
        for run in runs:
            for number in self._holders[size].pop(run):
                asked = self._rows[number][1]
                asked.num_runs[size] -= 1
                asked.template_runs += size == NEAR_RUN
        few = {number for number, (_, asked) in enumerate(self._rows) if asked.num_runs.get(size, 0) < LEAST_RUNS}
        kept = {run: [n for n in numbers if n not in few] for run, numbers in self._holders[size].items()}
        self._holders[size] = {run: numbers for run, numbers in kept.items() if numbers}

    def overlaps(self, row: ChatRow) -> Iterator[Overlap]:
        """Yield the evaluation rows that a training row gives away, each once, by its plainest kind."""
        train = _asked(row)
        for number, (kind, share) in self._found(train).items():
            name, test = self._rows[number]
            if kind == "turn" or _same_task(train, test):
                yield Overlap(kind, share, row.id, test.row.id, name, _shown(train), _shown(test))

    def same_words_other_task(self, row: ChatRow) -> int:
        """Return how many evaluation rows say the same and are another task: no leak, but worth a count."""
        train = _asked(row)
        numbers = self._exact.get(tuple(train.words), ()) if train.words else ()
        return sum(not _same_task(train, self._rows[number][1]) for number in numbers)

    def _found(self, train: _Asked) -> dict[int, tuple[str, float]]:
        found: dict[int, tuple[str, float]] = {}
        for number in self._exact.get(tuple(train.words), ()):
            if _says_enough(train, self._rows[number][1]):
                found[number] = ("exact", 1.0)
        for number in self._json.get(tuple(train.json_words), ()) if train.json_words is not None else ():
            found.setdefault(number, ("json", 1.0))
        for turn in train.turns:
            for number in self._turns.get(turn, ()):
                found.setdefault(number, ("turn", 1.0))
        for size, bound in BOUNDS.items():
            for number, count in self._shared(train, size).items():
                share = count / self._rows[number][1].num_runs[size]
                if share >= bound:
                    found.setdefault(number, (f"{size}-gram", share))
        for number, similarity in self._near(train):
            found.setdefault(number, ("near", similarity))
        return found

    def _shared(self, train: _Asked, size: int) -> Counter[int]:
        holders = self._holders[size]
        held = (holders[run] for run in _runs(train.words, size) if run in holders)
        return Counter(number for numbers in held for number in numbers)

    def _near(self, train: _Asked) -> Iterator[tuple[int, float]]:
        for number, count in self._shared(train, NEAR_RUN).items():
            test = self._rows[number][1]
            if count < NEAR * test.num_runs[NEAR_RUN]:
                continue
            own = len(_runs(train.words, NEAR_RUN)) - test.template_runs  # a shared template counts on neither side
            similarity = count / (test.num_runs[NEAR_RUN] + max(own, count) - count)
            if similarity >= NEAR:
                yield number, similarity


def _asked(row: ChatRow) -> _Asked:
    text = question(row)
    called = frozenset(name for name, _ in calls_of(row.answer))
    has_json = "{" in text or "[" in text
    return _Asked(
        row,
        words(text),
        called,
        spoken(row.answer).strip().lower(),
        words(with_canonical_json(text)) if has_json else None,
        _OPERATOR.findall(text),
        list(_turns(row)),
    )


def _turns(row: ChatRow) -> Iterator[Turn | None]:
    """Yield what the user asked and what was answered, turn by turn; None where the two say too little."""
    asked = list[str]()
    for message in row.messages:
        if message["role"] == "user":
            asked = words(content_of(message))
        elif message["role"] == "assistant":
            answer = spoken(message).strip().lower()
            says_enough = asked and len(asked) + len(words(answer)) >= TURN_WORDS
            yield (" ".join(asked), answer) if says_enough else None


def _runs(listed: list[str], size: int) -> set[str]:
    return set(shingles(listed, size)) if len(listed) >= size else set()


def _same_task(train: _Asked, test: _Asked) -> bool:
    if train.words == test.words and train.operators != test.operators and train.answer != test.answer:
        return False
    if train.called and test.called:
        return bool(train.called & test.called)
    if train.called or test.called:  # text may be the call in another form, unless tools were there and none was called
        return (test if train.called else train).row.tools is None
    return True


def _says_enough(train: _Asked, test: _Asked) -> bool:
    if len(train.words) >= EXACT_WORDS:
        return True
    with_answer = len(train.words) + len(words(train.answer))
    return bool(train.words) and train.answer == test.answer and with_answer >= EXACT_WORDS


def _shown(asked: _Asked) -> str:
    text = " ".join(question(asked.row).split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
