"""Gates on the format: does the template speak this tokenizer's language, will the model stop, do all render alike?

Each is pure: measurements in (chat/lint.py, chat/row_lint.py, chat/parity.py, models/embeddings.py), verdict out.
What is known to be harmless passes: a BOS that the tokenizer would add again (the renderer never lets it), a pad that
is the end-of-turn (labels here come from a mask, never from the pad: `answers_are_the_labels` measures it).
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.artifacts.verdict import Verdict, judge, some_of
from tunewright.chat.lint import NAMED, TemplateFacts, Written
from tunewright.chat.parity import View
from tunewright.chat.row_lint import RowsFacts
from tunewright.models.embeddings import EmbeddingFacts

# A data set about chat models quotes a template now and then; more says that another family's template was applied.
MAX_FOREIGN_SHARE = 0.01
_NAMED_ROWS = 3


def control_tokens_are_real(facts: TemplateFacts, *, calls_tools: bool | None = None) -> Verdict:
    """FAILED if the template writes control texts that are no token of this tokenizer, which has its own of that form.

    WARNED where the tokenizer has none of that form: models as Zephyr were trained on `<|user|>` as ordinary text.

    A template that writes a turn of any role as `<|role|>` writes `<|tool|>` for a tool's, whether the model knows it
    or not. Such a text counts only where there are tools, and is WARNED of where nobody knows.

    Args:
        facts: what the template writes.
        calls_tools: do the rows have tools, calls or results of them; None where no rows are known.
    """
    always = [one for one in facts.invented if not one.for_tools]
    invented = [one for one in facts.invented if not one.for_tools or calls_tools is not False]
    told = f": {', '.join(_invented(one) for one in invented)}" if invented else ""
    real = [one.text for one in facts.written if one.token_id is not None]
    has = real if len(real) > 1 else [*real, *(text for text in facts.own_tokens if text not in real)]
    uses = f"the model's own control tokens are {_listed(has)}" if has else "this tokenizer has no control tokens"
    counted = invented if calls_tools else always
    return judge(
        "control_tokens_are_real",
        not invented,
        measured=f"{len(invented)} of {len(facts.written)} control texts of the template are no tokens{told}",
        bound="each is one id of this tokenizer",
        remedy=f"{uses}; use the model's own chat_template.jinja, or add these tokens and train their embeddings",
        warn=not facts.has_style_of(counted) and not facts.invented_end,
    )


def _invented(one: Written) -> str:
    meant = f", nearest {' or '.join(f'`{text}`' for text in one.nearest)}" if one.nearest else ""
    return f"`{one.text}` ({one.num_tokens} tokens{', for tools' if one.for_tools else ''}{meant})"


def _listed(texts: Sequence[str]) -> str:
    return some_of([f"`{text}`" for text in texts], NAMED)


def one_bos(facts: TemplateFacts) -> Verdict:
    """FAILED if the template opens a conversation with BOS twice; WARNED if it writes none and the model knows one."""
    missing = facts.tokenizer_adds_bos and facts.num_bos == 0
    what = f"`{facts.bos}`" if facts.bos else "no BOS"
    measured = f"{facts.num_bos} × {what} at the start" if facts.bos else "this tokenizer has no BOS"
    if missing:
        measured += "; the tokenizer opens every plain text with it"
    return judge(
        "one_bos",
        facts.num_bos <= 1 and not missing,
        measured=measured,
        bound="at most one, and one where the tokenizer writes it itself",
        remedy=f"let chat_template.jinja begin with one {{{{ bos_token }}}} ({what})",
        warn=missing,
    )


def end_of_turn_stops(facts: TemplateFacts) -> Verdict:
    """FAILED if nothing that the template writes behind an answer stops a server; WARNED if only some servers stop.

    `transformers` stops at the eos of generation_config.json, others at the tokenizer's too.
    """
    stops = {facts.eos, *facts.served_stops}
    end = next((text for text in facts.ends if text in stops), "")
    half = bool(end and facts.served_stops and end not in facts.served_stops)
    return judge(
        "end_of_turn_stops",
        bool(end) and not half,
        measured=f"{_behind(facts, end)}; eos is `{facts.eos}`" + _served(facts),
        bound="the control token behind an answer is an eos, of the tokenizer and of generation_config.json",
        remedy=_end_remedy(facts, end),
        warn=half,
    )


def _behind(facts: TemplateFacts, end: str) -> str:
    if end:
        return f"answers end with `{end}`"
    if facts.invented_end:
        return f"answers end with `{facts.invented_end}`, which is no token"
    if facts.ends:
        return f"answers end with `{facts.ends[0]}`"
    return f"behind an answer stands no control token but {facts.behind_answer!r}"


def _served(facts: TemplateFacts) -> str:
    return f", servers stop at {_listed(facts.served_stops)}" if facts.served_stops else ""


def _end_remedy(facts: TemplateFacts, end: str) -> str:
    if end or facts.ends:
        wanted = end or facts.ends[0]
        return (
            f"put the id of `{wanted}` into `eos_token_id` of generation_config.json, and `eos_token: {wanted}` into "
            "tokenizer_config.json"
        )
    return f"let chat_template.jinja write `{facts.eos or 'an end-of-turn token'}` behind each answer, as one token"


# ── the text of rows ────────────────────────────────────────────────────────────────────────────────────────────────


def rows_have_no_control_tokens(facts: RowsFacts) -> Verdict:
    """FAILED if a message holds a token that opens or ends turns; WARNED if a prompt holds another special token."""
    turn, other = facts.rows_of("turn token"), facts.rows_of("special token")
    return judge(
        "rows_have_no_control_tokens",
        not turn and not other,
        measured=f"{len(turn)} of {facts.num_rows} rows hold a token of a turn in their text{_rows(turn)}; "
        f"{len(other)} another special token{_rows(other)}",
        bound="0 rows",
        remedy="take these texts out of the messages, or break them up (`<| im_end |>`): the tokenizer reads them as "
        "the real token",
        warn=not turn,
    )


def rows_have_no_foreign_template(facts: RowsFacts, max_share: float = MAX_FOREIGN_SHARE) -> Verdict:
    """WARNED if a row holds what another family's template writes; FAILED if more than `max_share` of the rows do.

    Plain words (`### Instruction:` with `### Response:`) count only above `max_share`: people quote them.
    """
    tokens, words = facts.rows_of("foreign template"), facts.rows_of("foreign words")
    found = {**tokens, **words}
    share = len(found) / facts.num_rows if facts.num_rows else 0.0
    return judge(
        "rows_have_no_foreign_template",
        not tokens and share <= max_share,
        measured=f"{len(found)} of {facts.num_rows} rows ({share:.1%}) hold another template's text{_rows(found)}",
        bound=f"at most {max_share:.0%}, and none of another family's control tokens",
        remedy="give the rows as messages (`tw data stats FILE` shows the format that is read), without the template "
        "that some export has written into them",
        warn=share <= max_share,
    )


def _rows(found: dict[str, str]) -> str:
    named = [f"{row} `{text}`" for row, text in list(found.items())[:_NAMED_ROWS]]
    return f" ({', '.join(named)}{', …' if len(found) > _NAMED_ROWS else ''})" if found else ""


# ── embeddings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def control_tokens_trained(facts: EmbeddingFacts | None, *, trains_embeddings: bool) -> Verdict:
    """FAILED if the template writes tokens whose embeddings were never trained, and this run does not train them.

    WARNED where the run does train them: then it should see them often. PASSED where no weights are at hand.
    """
    untrained = facts.untrained if facts else {}
    told = ", ".join(f"`{token}` ({why})" for token, why in list(untrained.items())[:NAMED])
    looked = (
        f"{len(untrained)} of {facts.num_looked_at} control tokens of the template look untrained"
        + (f": {told}" if told else "")
        + ("; no row of this matrix was ever trained" if facts.is_random else "")
        + f"; norms of ordinary rows {facts.least_norm:.3g} (1%) to {facts.median_norm:.3g} (median)"
        if facts
        else "no weights at hand, so their embeddings were not looked at"
    )
    return judge(
        "control_tokens_trained",
        not untrained,
        measured=looked,
        bound="0, or embeddings are trained",
        remedy="take the instruct model, or a chat template of tokens that this base has seen (plain text); else train "
        "the embeddings too: `lora: {targets: [..., embed_tokens]}`",
        warn=trains_embeddings,
    )


# ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def renders_alike(views: Sequence[View]) -> Verdict:
    """FAILED if another way of rendering gives other tokens than training; WARNED if the recipe asks for that."""
    wrong = [one for one in views if one.differences]
    return judge(
        "renders_alike",
        not wrong,
        measured="; ".join(_seen_by(one) for one in views) or "nothing else renders for this model",
        bound="every prompt the same tokens as in training",
        remedy="give serving the chat_template.jinja of this model folder, with the same system text, tools and "
        "template settings; look at check.json for the first token that differs",
        evidence="check.json" if wrong else "",
        warn=all(one.chosen for one in wrong),
    )


def _seen_by(one: View) -> str:
    what = "token counts" if one.counts_only else "tokens"
    if not one.differences:
        return f"{one.name}: the same {what} in {one.compared} of {one.compared}"
    first = one.differences[0]
    at = f" from token {first.at}" if first.at >= 0 else ""
    return (
        f"{one.name}: other {what} in {len(one.differences)} of {one.compared}, first {first.row}{at}: "
        f"training {first.ours}, there {first.theirs}"
    )
