import json

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.backends.protocol import Completion
from tunewright.backends.spending import BudgetReached
from tunewright.errors import DataError, EnvironmentProblem, GateFailed, ModelError, UserError
from tunewright.graders.sandbox import Limits, Sandbox
from tunewright.models.precision import resolve_precision
from tunewright.recipe.sections import Endpoint, EvaluateSection
from tunewright.stages.evaluate.answers import endpoint_backend
from tunewright.stages.evaluate.stage import evaluate, pick_shots


def make_rows(path, count=9, words=4):
    rows = (
        {
            "id": f"r{i}",
            "messages": [
                {"role": "user", "content": f"Say {i}" + " please" * (words + i % 4)},
                {"role": "assistant", "content": f"It is {i}."},
            ],
            "source": "test",
            "group": f"g{i // 2}",
            "meta": {},
        }
        for i in range(count)
    )
    write_jsonl(path, rows)
    return Rows(path=path)


@pytest.fixture
def rows(tmp_path):
    return make_rows(tmp_path / "test.jsonl")


def section(model, **more):
    options = {"suite": "exact-match", "rows": "data.test", "model": str(model), "max_new_tokens": 6, "batch_size": 4}
    return EvaluateSection(**{**options, "seed": 1, "precision": "float32", **more})


def run_stage(rows, chosen, out, allow=(), **more):
    out.mkdir(exist_ok=True)
    context = RunContext(quiet=True, allow=allow)
    return evaluate(rows, chosen, out, context, **more), context


def test_every_row_is_answered_and_scored_in_the_order_of_the_data(toy_model, rows, tmp_path):
    scores, context = run_stage(rows, section(toy_model), tmp_path / "out")
    found = list(scores.rows())
    assert [row.id for row in found] == [f"r{i}" for i in range(9)]
    assert all(row.question.startswith("Say") and row.reference.startswith("It is") for row in found)
    assert {summary.metric for summary in scores.summary} == {"exact_match", "token_f1"}
    assert all(summary.low <= summary.value <= summary.high for summary in scores.summary)
    assert [verdict.name for verdict in context.verdicts] == ["answers_complete", "answers_scored"]


def test_answers_of_an_earlier_attempt_are_kept_and_the_rest_is_the_same(toy_model, rows, tmp_path):
    whole, _ = run_stage(rows, section(toy_model), tmp_path / "whole")
    run_stage(rows, section(toy_model), tmp_path / "half")
    log = tmp_path / "half" / "answers.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:5]) + lines[5][:20])  # killed in the middle of a line, in the middle of a batch
    again, _ = run_stage(rows, section(toy_model), tmp_path / "half")
    assert [row.answer for row in again.rows()] == [row.answer for row in whole.rows()]
    assert len(log.read_text().splitlines()) == 9


def test_nothing_is_generated_twice(toy_model, rows, tmp_path):
    run_stage(rows, section(toy_model), tmp_path / "out")
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    run_stage(rows, section(toy_model), tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_worked_examples_lengthen_the_prompt_but_not_what_pairs_the_rows(toy_model, rows, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 12, words=2)
    plain, _ = run_stage(rows, section(toy_model), tmp_path / "plain")
    shots = section(toy_model, shots=3, shots_from="data.train")
    helped, _ = run_stage(rows, shots, tmp_path / "helped", shots_from=train)
    for one, other in zip(plain.rows(), helped.rows(), strict=True):
        assert one.prompt_sha256 == other.prompt_sha256
        assert other.prompt_tokens > one.prompt_tokens + 30
    assert helped.shots == 3


def test_worked_examples_come_from_different_groups_and_depend_on_the_seed_alone(toy_model, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 30)
    chosen = section(toy_model, shots=4, shots_from="data.train")
    shots = pick_shots(train, chosen)
    assert len({shot.group for shot in shots}) == 4
    assert shots == pick_shots(train, chosen)
    assert shots != pick_shots(train, section(toy_model, shots=4, shots_from="data.train", seed=2))


def test_too_few_groups_for_the_examples_are_told(toy_model, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 4)
    with pytest.raises(DataError, match="2 groups to draw 3 worked examples from"):
        pick_shots(train, section(toy_model, shots=3, shots_from="data.train"))


def test_a_prompt_longer_than_the_context_is_refused_by_name(toy_model, tmp_path):
    rows = make_rows(tmp_path / "long.jsonl", 1, words=600)
    with pytest.raises(DataError, match="row r0") as caught:
        run_stage(rows, section(toy_model), tmp_path / "out")
    assert "at most 512" in str(caught.value)


def test_no_rows_are_refused(toy_model, tmp_path):
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(DataError, match="no rows to answer"):
        run_stage(Rows(path=tmp_path / "none.jsonl"), section(toy_model), tmp_path / "out")


def test_a_model_without_a_chat_template_is_refused(toy_model, rows, tmp_path):
    import shutil

    folder = tmp_path / "bare"
    shutil.copytree(toy_model, folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="chat template"):
        run_stage(rows, section(folder), tmp_path / "out")


def test_limit_takes_the_first_rows(toy_model, rows, tmp_path):
    scores, _ = run_stage(rows, section(toy_model, limit=2), tmp_path / "out")
    assert [row.id for row in scores.rows()] == ["r0", "r1"]


# ── what is recorded ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_score_row_says_what_was_asked_and_answered(toy_model, rows, tmp_path):
    scores, _ = run_stage(rows, section(toy_model), tmp_path / "out")
    found = list(scores.rows())
    assert len({row.prompt_sha256 for row in found}) == len({row.row_sha256 for row in found}) == 9
    assert len({row.template_sha256 for row in found}) == 1
    assert all(len(row.answer_sha256) == 64 and row.error is None and row.repeat == 0 for row in found)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_settings_of_inference_are_recorded(toy_model, rows, tmp_path, precision):
    asked = {"system": "Be brief.", "repeats": 2, "template_kwargs": {"enable_thinking": False}}
    chosen = section(toy_model, temperature=0.7, top_p=0.9, precision=precision, **asked)
    scores, _ = run_stage(rows, chosen, tmp_path / "out")
    told = scores.inference
    assert (told.temperature, told.top_p, told.system, told.repeats) == (0.7, 0.9, "Be brief.", 2)
    assert (told.template_kwargs, told.backend, told.suite) == ({"enable_thinking": False}, "hf", "exact-match")
    assert (told.max_new_tokens, told.seed, told.precision) == (6, 1, resolve_precision(precision))


def test_what_could_be_shown_is_said_before_the_rows_are_answered(toy_model, rows, tmp_path):
    scores, context = run_stage(rows, section(toy_model), tmp_path / "out")
    assert context.notes[0] == scores.detectable
    assert "9 rows in 5 groups" in context.notes[0]


def test_rows_of_one_group_widen_the_intervals(toy_model, tmp_path):
    from tunewright.artifacts.scores import ScoreRow
    from tunewright.stages.evaluate.summary import summarise
    from tunewright.suites.protocol import find_suite

    def width(group):
        common = {"source": "", "question": "", "reference": "", "answer": "", "reason": "", "prompt_sha256": ""}
        common |= {"prompt_tokens": 1, "answer_tokens": 1, "finish": "stop", "seconds": 0.0}
        scored = [
            ScoreRow(id=f"r{i}", group=group(i), scores={"exact_match": float(i % 40 < 20)}, **common)
            for i in range(80)
        ]
        [summary] = summarise(scored, find_suite("exact-match"), 0)
        return summary.high - summary.low

    assert width(lambda i: f"g{i // 10}") > 1.5 * width(lambda i: f"g{i}")


# ── repeats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_repeats_are_answers_of_their_own_in_the_cluster_of_their_row(toy_model, rows, tmp_path):
    scores, _ = run_stage(rows, section(toy_model, repeats=3, temperature=1.0, limit=4), tmp_path / "out")
    found = list(scores.rows())
    assert [row.id for row in found[:4]] == ["r0", "r0#1", "r0#2", "r1"]
    assert [row.row_id for row in found[:4]] == ["r0", "r0", "r0", "r1"]
    assert len({row.answer for row in found[:3]}) == 3
    assert {row.group for row in found} == {"g0", "g1"}
    assert scores.num_rows == 4
    assert [one.metric for one in scores.pass_k] == [
        "exact_match pass@2", "exact_match pass^2", "exact_match pass@3", "exact_match pass^3",
    ]  # fmt: skip


class Canned:
    """A backend that says what it is told, by answer id; None is an error."""

    def __init__(self, said):
        self.said, self.asked = said, []

    def generate(self, prompts, sampling, done=frozenset()):
        for prompt in prompts:
            if prompt.id not in done:
                self.asked.append(prompt.id)
                text = self.said(prompt.id)
                lost = {"finish": "error", "error": "no answer", "text": ""}
                kept = {"finish": "stop", "text": text, "cost_usd": 0.25}
                yield [Completion(prompt.id, (), seconds=0.1, **(lost if text is None else kept))]


def test_pass_at_k_and_pass_hat_k_are_those_of_the_counted_answers(toy_model, rows, tmp_path):
    right = {"r0", "r0#1", "r1#2"}  # 2 of 3 and 1 of 3
    canned = Canned(lambda key: f"It is {key[1]}." if key in right else "no")
    chosen = section(toy_model, repeats=3, temperature=1.0, limit=2)
    scores, _ = run_stage(rows, chosen, tmp_path / "out", backend=canned)
    found = {one.metric: one.value for one in scores.pass_k}
    assert found["exact_match pass@2"] == pytest.approx((1 + 2 / 3) / 2)  # 1 - C(1,2)/C(3,2), 1 - C(2,2)/C(3,2)
    assert found["exact_match pass^2"] == pytest.approx((1 / 3 + 0) / 2)
    assert found["exact_match pass@3"] == 1
    assert found["exact_match pass^3"] == 0
    assert scores.summary[0].value == pytest.approx(0.5)
    assert scores.cost_usd == pytest.approx(1.5)


def test_repeats_of_a_greedy_answer_are_refused(toy_model):
    with pytest.raises(ValueError, match="all answers to a row are the same"):
        section(toy_model, repeats=3, temperature=0)


# ── errors are not zeros ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_that_could_not_be_had_is_unscored_and_fails_the_stage(toy_model, rows, tmp_path):
    canned = Canned(lambda key: None if key == "r3" else f"It is {key[1]}.")
    scores, context = run_stage(rows, section(toy_model), tmp_path / "out", ("answers_scored",), backend=canned)
    lost = list(scores.rows())[3]
    assert (lost.scores, lost.error, lost.finish) == ({}, "no answer", "error")
    assert scores.unscored == 1
    assert scores.summary[0].value == 1  # of the 8 that have a score
    assert scores.summary[0].num_rows == 8
    [verdict] = [verdict for verdict in context.verdicts if verdict.name == "answers_scored"]
    assert verdict.status == "FAILED"
    assert "1 of 9 answers have no score; the first: no answer" in verdict.measured


def test_a_bound_that_is_raised_knowingly_lets_unscored_answers_pass(toy_model, rows, tmp_path):
    canned = Canned(lambda key: None if key == "r3" else "x")
    _, context = run_stage(rows, section(toy_model, most_unscored=0.2), tmp_path / "out", backend=canned)
    assert {verdict.status for verdict in context.verdicts} == {"PASSED"}


def test_only_answers_with_an_error_are_asked_for_again(toy_model, rows, tmp_path):
    with pytest.raises(GateFailed, match="answers_scored"):
        run_stage(rows, section(toy_model), tmp_path / "out", backend=Canned(lambda key: None if key == "r3" else "x"))
    again = Canned(lambda key: "x")
    scores, _ = run_stage(rows, section(toy_model), tmp_path / "out", backend=again)
    assert again.asked == ["r3"]
    assert scores.unscored == 0


def test_two_rows_of_one_id_are_refused(toy_model, tmp_path):
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    write_jsonl(tmp_path / "twice.jsonl", [{"id": "x", **row}, {"id": "x", **row}])
    with pytest.raises(DataError, match="two answers would have the id 'x'"):
        run_stage(Rows(path=tmp_path / "twice.jsonl"), section(toy_model), tmp_path / "out")


# ── prompts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_system_text_is_asked_and_does_not_change_what_pairs_the_rows(toy_model, rows, tmp_path):
    plain, _ = run_stage(rows, section(toy_model), tmp_path / "plain")
    told, _ = run_stage(rows, section(toy_model, system="Answer with a number only."), tmp_path / "told")
    for one, other in zip(plain.rows(), told.rows(), strict=True):
        assert one.prompt_sha256 == other.prompt_sha256
        assert one.prompt_tokens != other.prompt_tokens


def test_a_server_is_asked_the_same_messages_and_its_rows_pair(toy_model, rows, tmp_path):
    local, _ = run_stage(rows, section(toy_model), tmp_path / "local")
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    chosen = section(toy_model, backend="openai", endpoint=endpoint)
    canned = Canned(lambda key: "x")
    served, _ = run_stage(rows, chosen, tmp_path / "served", backend=canned)
    nobody = chosen.model_copy(update={"model": None})
    unknown, _ = run_stage(rows, nobody, tmp_path / "unknown", backend=canned)
    for one, other, third in zip(local.rows(), served.rows(), unknown.rows(), strict=True):
        assert one.prompt_sha256 == other.prompt_sha256
        assert one.row_sha256 == other.row_sha256 == third.row_sha256
        assert third.template_sha256 == ""
    assert served.prompt_parity.startswith("9 of 9 requests say what the rows say")
    assert local.prompt_parity == ""


def test_an_endpoint_answers_and_what_it_cannot_answer_stays_unscored(toy_model, tmp_path, monkeypatch):
    from tests.backends.protocol_server import ProtocolServer

    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))  # where paid answers are kept
    rows = make_rows(tmp_path / "echo.jsonl", 6)
    with ProtocolServer() as server:
        server.faults.append("filtered")
        endpoint = {"url": server.url, "model": "m", "concurrency": 1, "price": {"prompt": 1000, "completion": 1000}}
        chosen = section(toy_model, backend="openai", endpoint=endpoint, system="Be brief.")
        scores, context = run_stage(rows, chosen, tmp_path / "out", ("answers_scored",))
        asked = [body["messages"] for _, body in server.requests]
        again, _ = run_stage(rows, chosen, tmp_path / "again")
        assert len(server.requests) == len(asked) + 1  # the five that were paid for come from the cache
    assert all(messages[0] == {"role": "system", "content": "Be brief."} for messages in asked)
    found = list(scores.rows())
    assert sum(row.error is not None for row in found) == scores.unscored == 1
    assert [row.answer.startswith("echo: Say") for row in found].count(True) == 5
    assert scores.cost_usd > 0
    assert scores.inference.endpoint == f"{server.url} m"
    assert [verdict.status for verdict in context.verdicts] == ["PASSED", "FAILED"]
    assert again.unscored == 0


def test_what_earlier_attempts_spent_counts_for_the_budget_and_the_cost(toy_model, tmp_path, monkeypatch):
    from tests.backends.protocol_server import ProtocolServer

    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))
    rows = make_rows(tmp_path / "echo.jsonl", 6)
    log = tmp_path / "out" / "answers.jsonl"
    log.parent.mkdir()
    line = {"id": "r0", "token_ids": [], "finish": "error", "seconds": 1.0, "error": "timed out", "cost_usd": 0.2}
    log.write_text(json.dumps(line) + "\n")
    with ProtocolServer() as server:
        endpoint = {"url": server.url, "model": "m", "price": {"prompt": 1, "completion": 1}}
        small = section(toy_model, backend="openai", endpoint={**endpoint, "budget_usd": 0.2001})
        with pytest.raises(BudgetReached, match=r"6 prompts not asked: 0\.2"):
            run_stage(rows, small, tmp_path / "out")
        scores, _ = run_stage(rows, section(toy_model, backend="openai", endpoint=endpoint), tmp_path / "out")
    assert 0.2 < scores.cost_usd < 0.3


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost:1234/v1", True),
        ("http://192.168.1.7/v1", True),
        ("http://gpu-box/v1", True),
        ("http://gpu.local/v1", True),
        ("https://api.vendor.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_answers_of_a_server_nearby_are_not_taken_for_those_of_what_stands_there_later(url, local):
    assert endpoint_backend(Endpoint(url=url, model="m"), None).cache is None or not local
    assert endpoint_backend(Endpoint(url=url, model="m"), None, identity="these weights").cache is not None
    paid = Endpoint(url=url, model="m", price={"prompt": 1.0, "completion": 2.0})
    assert endpoint_backend(paid, None).cache is not None
    if not local:
        assert endpoint_backend(Endpoint(url=url, model="m"), None).cache is not None


# ── suites with rows, and suites of log-probabilities ───────────────────────────────────────────────────────────────


def test_a_suite_with_rows_of_its_own_needs_none(toy_model, tmp_path):
    chosen = section(toy_model, suite="reasoning-gym", options={"tasks": ["chain_sum"], "rows": 3}, rows=None)
    scores, _ = run_stage(None, chosen, tmp_path / "out")
    assert scores.num_rows == 3
    assert scores.main_metric == "correct"


def test_a_suite_without_rows_says_so(toy_model, tmp_path):
    with pytest.raises(UserError, match="this suite brings none"):
        run_stage(None, section(toy_model, rows=None), tmp_path / "out")


def choice_rows(path):
    rows = (
        {
            "id": f"q{i}",
            "messages": [{"role": "user", "content": f"Pick {i}"}, {"role": "assistant", "content": "left side"}],
            "group": f"q{i}",
            "meta": {"choices": ["left side", "right", "neither of the two"], "answer": 0},
        }
        for i in range(5)
    )
    write_jsonl(path, rows)
    return Rows(path=path)


def test_choices_are_scored_by_the_models_own_log_probabilities(toy_model, tmp_path):
    import torch

    from tunewright.chat.render import Renderer
    from tunewright.models.load import load_model

    rows = choice_rows(tmp_path / "choices.jsonl")
    scores, _ = run_stage(rows, section(toy_model, suite="multiple-choice"), tmp_path / "out")
    model, renderer = load_model(toy_model, "float32"), Renderer.from_folder(toy_model)
    for row, scored in zip(rows, scores.rows(), strict=True):
        said = json.loads(scored.answer)
        for choice, found in zip(row.meta["choices"], said, strict=True):
            prompt = renderer.prompt(row.prompt)
            ids, start = renderer.continuation(choice, row.prompt)
            assert ids[:start] == prompt
            with torch.inference_mode():
                log_probs = model(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
            expected = sum(float(log_probs[at - 1, ids[at]]) for at in range(start, len(ids)))
            assert found["log_prob"] == pytest.approx(expected, abs=1e-3)
            assert (found["num_tokens"], found["num_bytes"]) == (len(ids) - start, len(choice))


def test_worked_examples_and_a_system_text_do_not_change_what_pairs_choices(toy_model, rows, tmp_path):
    asked = choice_rows(tmp_path / "choices.jsonl")
    shown = section(toy_model, suite="multiple-choice", shots=2, shots_from="data.train", system="Pick one.")
    plain, _ = run_stage(asked, section(toy_model, suite="multiple-choice"), tmp_path / "plain")
    framed, _ = run_stage(asked, shown, tmp_path / "framed", shots_from=rows)
    for one, other in zip(plain.rows(), framed.rows(), strict=True):
        assert one.prompt_sha256 == other.prompt_sha256
        assert one.prompt_tokens < other.prompt_tokens


def test_a_first_row_without_a_text_is_no_row_for_perplexity_and_no_trouble(toy_model, tmp_path):
    talk = [{"role": "user", "content": "Say it"}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "say", "arguments": {}}}]}
    tools = [{"type": "function", "function": {"name": "say", "parameters": {"type": "object", "properties": {}}}}]
    said = {"role": "assistant", "content": "It is said."}
    write_jsonl(
        tmp_path / "rows.jsonl",
        [{"id": "r0", "messages": [*talk, call], "tools": tools}, {"id": "r1", "messages": [*talk, said]}],
    )
    scores, _ = run_stage(Rows(path=tmp_path / "rows.jsonl"), section(toy_model, suite="perplexity"), tmp_path / "out")
    assert next(scores.rows()).reason == "no text"
    assert scores.summary[0].num_rows == 1


def test_scoring_by_log_probability_goes_on_where_it_was_killed(toy_model, tmp_path):
    rows = choice_rows(tmp_path / "choices.jsonl")
    chosen = section(toy_model, suite="multiple-choice", batch_size=4)
    whole, _ = run_stage(rows, chosen, tmp_path / "whole")
    run_stage(rows, chosen, tmp_path / "half")
    log = tmp_path / "half" / "answers.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    again, _ = run_stage(rows, chosen, tmp_path / "half")
    assert [row.answer for row in again.rows()] == [row.answer for row in whole.rows()]


def test_a_text_longer_than_the_context_is_scored_in_windows_each_token_once(toy_model, tmp_path):
    row = {
        "id": "long",
        "messages": [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "word " * 900}],
    }
    write_jsonl(tmp_path / "long.jsonl", [row])
    scores, _ = run_stage(Rows(path=tmp_path / "long.jsonl"), section(toy_model, suite="perplexity"), tmp_path / "out")
    [scored] = scores.rows()
    [said] = json.loads(scored.answer)
    from tunewright.chat.render import Renderer

    ids, start = Renderer.from_folder(toy_model).continuation("word " * 900, row["messages"][:1])
    assert len(ids) > 512
    assert said["num_tokens"] == len(ids) - start
    assert said["num_bytes"] == 4500
    assert scores.summary[0].value == pytest.approx(scored.scores["perplexity"])
    assert (scores.summary[0].low, scores.summary[0].high) == (-1e300, 1e300)  # one text says nothing of others


def judged_by(model):
    grader = {
        "type": "score_model", "name": "judge", "model": model, "range": [0, 1],
        "input": [{"role": "user", "content": "How good is {{ sample.output_text }}?"}],
    }  # fmt: skip
    return {"suite": "sample", "options": {"grader": grader}}


def test_a_model_that_would_grade_its_own_answers_is_refused(toy_model, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="would grade its own answers"):
        run_stage(rows, section(toy_model, **judged_by(str(toy_model))), tmp_path / "out")
    assert not (tmp_path / "out" / "answers.jsonl").exists()


def test_tool_calls_are_read_in_the_form_that_the_models_template_writes(toy_model, rows, tmp_path):
    scores, _ = run_stage(rows, section(toy_model, suite="tool-calls"), tmp_path / "found")
    assert scores.inference.calls_read_as == "hermes"
    told, _ = run_stage(rows, section(toy_model, suite="tool-calls", options={"format": "mistral"}), tmp_path / "told")
    assert told.inference.calls_read_as == "mistral"
    other, _ = run_stage(rows, section(toy_model), tmp_path / "other")
    assert other.inference.calls_read_as == ""


CODE = {"suite": "sample", "options": {"grader": {"type": "code_tests", "name": "tests"}}}


def test_where_code_of_answers_ran_stands_in_the_scores_and_too_little_isolation_is_refused(
    toy_model, rows, tmp_path, monkeypatch
):
    monkeypatch.setattr("tunewright.graders.code.shared_sandbox", lambda *_: weak)
    with Sandbox(Limits(workers=1), without=("namespaces",)) as weak:
        scores, _ = run_stage(rows, section(toy_model, most_unscored=1.0, **CODE), tmp_path / "out")
        assert scores.isolation == weak.describe() and scores.isolation["level"] == "rlimits"
        chosen = section(toy_model, require_sandbox="full", **CODE)
        with pytest.raises(EnvironmentProblem, match="level `rlimits`"):
            run_stage(rows, chosen, tmp_path / "refused")
    assert not (tmp_path / "refused" / "answers.jsonl").exists()
    assert run_stage(rows, section(toy_model), tmp_path / "none")[0].isolation is None
