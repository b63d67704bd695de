"""The closed list of what can be wrong with a grader, what to change then, and what explains what.

In the order of cause before effect.
"""

from __future__ import annotations

from typing import Literal, get_args

Diagnosis = Literal[
    "erroring",
    "unparsed",
    "out of range",
    "dead",
    "inverted",
    "noisy",
    "length-biased",
    "data problem",
    "misaligned",
    "hackable",
    "too harsh",
    "too lenient",
    "no signal",
    "flat",
    "blind",
    "slow",
    "costly",
    "unproven",
    "too few",
]
DIAGNOSES: tuple[Diagnosis, ...] = get_args(Diagnosis)

CHANGE: dict[Diagnosis, str] = {
    "erroring": "read the errors by kind (a column that rows lack, code that raises, a server that fails) and mend it",
    "unparsed": "make the judge answer in the form that is asked for: a stronger judge, `label_model`, a shorter "
    "rubric; where answers are no JSON, put `json_schema` in front: there broken JSON is a 0 and not an error",
    "out of range": "say the grader's `range`, or scale its score to 0..1",
    "dead": "it gives everything one score, the gold answers included: grade one gold answer by hand with "
    "`tw grade run`, and look at what it reads",
    "inverted": "gold answers score below wrong ones: look for `ne` in place of `eq`, a negated pattern, a penalty "
    "with the wrong sign, or a label in `passing_labels` that is not one",
    "noisy": "one answer gets different scores: temperature 0, `label_model` with few labels, or the mean of several "
    "judges",
    "length-biased": "length decides: bound it (`length` in a `multi` grader), and tell the judge to ignore it",
    "data problem": "these rows' own gold answers are refused: mend or drop the rows, or the column the grader reads",
    "misaligned": "answers score as well against the reference of another row as against their own: "
    "rows and references may have shifted, or the model guesses; hold a few answers against their rows",
    "hackable": "an answer that says nothing earns reward: ask for content, give the judge the reference, and combine "
    "with a check that such an answer fails",
    "too harsh": "hardly any answer earns anything: give partial credit, compare less literally, take easier prompts, "
    "or fine-tune on examples first",
    "too lenient": "too many answers earn everything: ask for more, grade in more steps, or take harder prompts",
    "no signal": "inside most prompts all answers score the same, so nothing is learnt from them: drop prompts that "
    "are always or never solved, take prompts between, or grade more finely",
    "flat": "the scores hardly differ: use the whole range, or `label_model` with labels that tell answers apart",
    "blind": "the gold answer of another row scores as well: it looks at form alone; add a grader that compares with "
    "the row's reference",
    "slow": "grade on more workers or with a smaller judge: the training waits for every grade",
    "costly": "take a cheaper judge, shorten its prompt, or grade a part with code",
    "unproven": "no row has a gold answer, so nothing shows that a right answer scores full: add some",
    "too few": "grade more: 25 prompts with 8 answers each tell most of it",
}

FOLLOWS: dict[Diagnosis, tuple[Diagnosis, ...]] = {
    "dead": ("data problem", "misaligned", "too harsh", "too lenient", "no signal", "flat", "blind", "hackable"),
    "inverted": ("data problem", "misaligned", "length-biased", "hackable", "too lenient", "too harsh", "blind"),
    "noisy": ("data problem", "flat"),
    "out of range": ("too lenient", "hackable", "flat", "blind"),
    "length-biased": ("data problem", "hackable", "blind", "too lenient"),
    "misaligned": ("too harsh",),
    "hackable": ("too lenient", "blind"),
    "too harsh": ("no signal", "flat"),
    "too lenient": ("no signal", "flat"),
    "erroring": ("unproven", "too few"),
    "unparsed": ("too few",),
}
"""finding -> findings that it explains"""
