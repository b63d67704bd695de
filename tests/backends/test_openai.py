"""The backend against a real small server on loopback sockets, healthy and faulty."""

import json
import logging
import os
import socket
import threading
import time

import pytest
from protocol_server import ProtocolServer

from tunewright.backends.http import Poster, Retries
from tunewright.backends.openai import MAX_FAILED_IN_A_ROW, OpenAIBackend
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.backends.spending import Budget, BudgetReached, Prices
from tunewright.backends.wire import Answer, body_hash, prompt_hash
from tunewright.errors import DataError, EnvironmentProblem, UserError

GREEDY = Sampling(max_new_tokens=8)
QUICK = Retries(attempts=4, first_seconds=0.01, longest_seconds=2.0)
KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def server():
    with ProtocolServer() as server:
        yield server


def backend(server, **options):
    return OpenAIBackend("small", server.url, **{"retries": QUICK, "timeout_seconds": 5.0, **options})


def ask(text, row="r1", **more):
    return Prompt(row, messages=({"role": "user", "content": text},), **more)


def asks(count):
    return [ask(f"say {i}", f"r{i}") for i in range(count)]


def all_of(backend, prompts, sampling=GREEDY, done=frozenset()):
    return {c.id: c for batch in backend.generate(prompts, sampling, done) for c in batch}


# ── what is asked, what comes back ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("key", "kept"), [("none", True), ("EMPTY", True), ("sk-1", False), ("a" * 16, False)])
def test_a_filler_for_a_key_is_a_word_like_others_in_an_answer(key, kept):
    poster = Poster("http://127.0.0.1/v1", api_key=key)
    assert (key in poster._storable(Answer(f"it is {key} of these", "stop", None)).text) == kept


def test_every_prompt_gets_its_own_answer_with_its_tokens(server):
    found = all_of(backend(server), asks(30))
    assert {row: c.text for row, c in found.items()} == {f"r{i}": f"echo: say {i}" for i in range(30)}
    assert all(c.finish == "stop" and c.error is None and c.prompt_tokens > 0 and c.answer_tokens == 5
               for c in found.values())  # fmt: skip


def test_no_more_requests_are_out_than_allowed_and_several_are(server):
    server.barrier, server.delay = threading.Barrier(3, timeout=30), 0.05
    all_of(backend(server, concurrency=3, timeout_seconds=60.0), asks(12))
    assert server.most_out == 3


def test_rows_that_are_done_are_not_asked_again(server):
    found = all_of(backend(server), asks(6), done={"r0", "r3", "r5"})
    assert set(found) == {"r1", "r2", "r4"} and len(server.requests) == 3


def test_greedy_needs_no_seed_and_sampled_rows_have_their_own(server):
    all_of(backend(server), asks(1))
    all_of(backend(server), asks(4), Sampling(8, temperature=0.7, top_p=0.9, seed=1, stop=("END",)))
    all_of(backend(server), asks(4), Sampling(8, temperature=0.7, seed=2))
    greedy, *sampled = (body for _, body in server.requests)
    assert "seed" not in greedy and greedy["temperature"] == 0.0
    assert len({body["seed"] for body in sampled}) == 8 and all(0 <= body["seed"] < 2**31 for body in sampled)
    assert sampled[0]["top_p"] == 0.9 and sampled[0]["stop"] == ["END"]


def test_token_ids_go_to_plain_completions_as_they_are_or_as_text(server):
    prompt = [Prompt("r1", token_ids=(5, 6, 7))]
    found = all_of(backend(server, endpoint="completions"), prompt)
    all_of(backend(server, endpoint="completions", to_text=lambda ids: f"text of {len(ids)}"), prompt)
    assert [body["prompt"] for _, body in server.requests] == [[5, 6, 7], "text of 3"]
    assert found["r1"].finish == "length" and server.requests[0][0] == "/v1/completions"


def test_a_prompt_without_messages_is_named_before_anything_is_sent(server):
    with pytest.raises(DataError, match="r2"):
        list(backend(server).generate([ask("hi"), Prompt("r2", token_ids=(1,))], GREEDY))
    assert server.requests == []


def test_what_was_sent_hashes_as_the_row_that_it_was_made_of(server):
    messages = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}]},
        {"role": "tool", "content": "rain"},
    )  # fmt: skip
    tools = ({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}},)
    prompt, asker = Prompt("r1", messages=messages, tools=tools), backend(server)
    all_of(asker, [prompt])
    sent = server.requests[0][1]
    assert sent["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"city": "Ulm"}'
    assert sent["messages"][3]["tool_call_id"] == sent["messages"][2]["tool_calls"][0]["id"]
    assert body_hash(sent) == prompt_hash(messages, tools) == asker.prompt_hash(prompt, GREEDY)
    other_system = ({"role": "system", "content": "Be  brief."}, *messages[1:])
    assert prompt_hash(other_system, tools) != prompt_hash(messages, tools) != prompt_hash(messages, None)


def test_names_that_vendors_refuse_are_sent_otherwise_and_read_back(server):
    tools = tuple({"type": "function", "function": {"name": name}} for name in ("math.gcd", "math_gcd", "a b" * 40))
    call = {"id": "1", "type": "function", "function": {"name": "math_gcd_2", "arguments": "{}"}}
    server.answer = {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [call]}}]}
    prompt = ask("hi", tools=tools)
    found = all_of(backend(server, strict_names=True), [prompt])
    sent = [tool["function"]["name"] for tool in server.requests[0][1]["tools"]]
    assert sent[:2] == ["math_gcd_2", "math_gcd"] and len(sent[2]) == 64 and len(set(sent)) == 3
    assert json.loads(found["r1"].text.splitlines()[1])["name"] == "math.gcd"
    assert backend(server, strict_names=True).prompt_hash(prompt, GREEDY) != prompt_hash(prompt.messages, tools)
    assert backend(server).prompt_hash(prompt, GREEDY) == prompt_hash(prompt.messages, tools)


def test_the_caller_may_go_away_and_the_requests_that_are_out_end(server):
    asker = backend(server, concurrency=2)
    stream = asker.generate(asks(50), GREEDY)
    server.delay = 0.1
    next(stream)
    server.delay = 60.0
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 20 and len(server.requests) < 10


def test_it_works_inside_a_running_event_loop(server):
    import asyncio

    async def notebook():
        return all_of(backend(server), asks(3))

    assert len(asyncio.run(notebook())) == 3


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["429", "500", "503", "529", "malformed", "half-closed", "empty", "error-in-200"])
def test_a_fault_that_passes_is_tried_again(server, fault):
    server.faults.extend([fault, fault])
    asker = backend(server)
    found = all_of(asker, [ask("hi")])
    assert found["r1"].text == "echo: hi" and len(server.requests) == 3 and asker.spending.retries == 2


def test_retry_after_is_kept_to_by_all_requests(server):
    server.retry_after = "1"
    server.faults.append("429")
    began = time.monotonic()
    all_of(backend(server, concurrency=1), asks(2))
    assert 1.0 <= time.monotonic() - began < 20


def test_a_wait_longer_than_we_would_is_an_error_that_says_so(server):
    server.retry_after = "86400"
    server.faults.append("429")
    found = all_of(backend(server), [ask("hi")])
    assert "86400" in found["r1"].error and len(server.requests) == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_an_attempt_has_its_time_however_the_bytes_drip(server, fault):
    server.always = fault
    began = time.monotonic()
    found = all_of(backend(server, timeout_seconds=0.4, retries=Retries(2, 0.01)), [ask("hi")])
    assert "no answer within 0.4 s" in found["r1"].error and found["r1"].text is None
    assert found["r1"].finish == "error" and time.monotonic() - began < 20


def test_a_row_that_is_refused_has_an_error_and_the_others_their_answers(server):
    server.faults.extend(["400"])
    found = all_of(backend(server, concurrency=1), asks(3))
    assert found["r0"].error == "HTTP 400: fault 400" and found["r0"].text is None
    assert [found[row].text for row in ("r1", "r2")] == ["echo: say 1", "echo: say 2"]


def test_a_filtered_answer_is_an_error_and_not_an_empty_answer(server):
    server.faults.append("filtered")
    found = all_of(backend(server), [ask("hi")])
    assert "content filter" in found["r1"].error and found["r1"].text is None and len(server.requests) == 1


def test_a_server_that_fails_row_after_row_ends_it_and_those_rows_stay_open(server):
    asker = backend(server, concurrency=1, retries=Retries(1, 0.01))
    found = {}
    with pytest.raises(EnvironmentProblem, match=f"{MAX_FAILED_IN_A_ROW} rows in a row"):
        for batch in asker.generate(asks(40), GREEDY):
            found |= {c.id: c for c in batch}
            server.always = "500"
    assert found and all(c.error is None for c in found.values())
    server.always = None
    assert set(all_of(asker, asks(40), done=set(found))) | set(found) == {f"r{i}" for i in range(40)}


def test_a_few_rows_that_failed_between_good_ones_are_handed_over_with_their_errors(server):
    server.faults.extend(["500"] * 3)
    found = all_of(backend(server, concurrency=1, retries=Retries(1, 0.01)), asks(6))
    assert [row for row, c in found.items() if c.error] == ["r0", "r1", "r2"] and len(found) == 6


def test_a_server_that_is_not_there_is_told_in_one_error():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody else gets this port, and nobody listens there
        asker = OpenAIBackend("small", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", retries=Retries(2, 0.01))
        with pytest.raises(EnvironmentProblem, match="cannot connect"):
            all_of(asker, asks(20))


@pytest.mark.parametrize("fault", ["401", "403", "404", "302"])
def test_a_server_that_refuses_everybody_is_the_users_to_mend(server, fault):
    server.always = fault
    with pytest.raises(UserError, match=f"HTTP {fault}"):
        all_of(backend(server), asks(20))
    assert len(server.requests) <= 9


def test_an_empty_purse_at_the_vendor_is_not_tried_again(server):
    server.faults.append("quota")
    found = all_of(backend(server), [ask("hi")])
    assert "no money left" in found["r1"].error and len(server.requests) == 1


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def key():
    os.environ["SMALL_KEY"] = KEY
    yield KEY
    del os.environ["SMALL_KEY"]


def test_the_key_is_sent_and_stands_nowhere_else(server, key, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    asker = backend(server, api_key_env="SMALL_KEY", cache=tmp_path / "answers.sqlite")
    all_of(asker, asks(3))
    server.always = "echo-key"
    with pytest.raises(UserError) as refused:
        all_of(asker, [ask("again")])
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for text in (str(refused.value), json.dumps(refused.value.as_json()), caplog.text, repr(asker), str(kept)):
        assert KEY not in text and KEY[8:] not in text
    assert "***" in str(refused.value) and "SMALL_KEY" in str(refused.value)


def test_a_key_that_is_not_set_is_named_before_anything_is_sent(server):
    with pytest.raises(UserError, match="NO_SUCH_KEY"):
        all_of(backend(server, api_key_env="NO_SUCH_KEY"), [ask("hi")])
    assert server.requests == []


def test_a_url_with_a_password_is_refused_without_showing_it():
    with pytest.raises(UserError) as refused:
        OpenAIBackend("small", "https://me:secret@host/v1")
    assert "secret" not in str(refused.value)


# ── money ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cost_and_tokens_are_booked_a_row_and_in_all(server):
    asker = backend(server, prices=Prices(prompt=2.0, completion=10.0))
    found = all_of(asker, asks(10))
    for c in found.values():
        assert c.cost_usd == pytest.approx((c.prompt_tokens * 2 + c.answer_tokens * 10) / 1e6)
    assert asker.spending.usd == pytest.approx(sum(c.cost_usd for c in found.values()))
    assert asker.spending.completion_tokens == 50


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_budget_in_dollars_is_never_overspent_and_what_is_done_is_kept(server, concurrency):
    server.delay = 0.01
    asker = backend(server, prices=Prices(100.0, 100.0), budget=Budget(usd=0.05), concurrency=concurrency)
    found = {}
    with pytest.raises(BudgetReached, match="not asked"):
        for batch in asker.generate(asks(100), GREEDY):
            found |= {c.id: c for c in batch}
    assert 10 < len(found) < 100 and len(found) == len(server.requests)
    assert 0.03 < asker.spending.usd <= 0.05


def test_a_budget_in_tokens_is_kept_and_a_second_run_goes_on_with_a_new_one(server):
    asker = backend(server, budget=Budget(tokens=500))
    found = {}
    with pytest.raises(BudgetReached):
        for batch in asker.generate(asks(100), GREEDY):
            found |= {c.id: c for c in batch}
    assert 300 < asker.spending.tokens <= 500
    rest = all_of(backend(server), asks(100), done=set(found))
    assert set(rest) | set(found) == {f"r{i}" for i in range(100)} and not set(rest) & set(found)


def test_an_answer_that_was_lost_on_the_way_counts_at_its_most(server):
    server.faults.extend(["half-closed"])
    asker = backend(server, prices=Prices(100.0, 100.0))
    found = all_of(asker, [ask("hi")])
    assert asker.spending.unknown_usd > asker.spending.usd > 0
    assert found["r1"].cost_usd == pytest.approx(asker.spending.usd + asker.spending.unknown_usd)


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(UserError, match="prices"):
        Prices(prompt=price)


# ── cache ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_paid_for_is_not_asked_again(server, tmp_path):
    first = all_of(backend(server, cache=tmp_path / "c.sqlite", prices=Prices(1.0, 1.0)), asks(5))
    again = backend(server, cache=tmp_path / "c.sqlite", prices=Prices(1.0, 1.0))
    second = all_of(again, asks(7))
    assert len(server.requests) == 7 and again.spending.cache_hits == 5
    assert all(second[row].text == first[row].text and second[row].prompt_tokens == first[row].prompt_tokens
               and second[row].cost_usd == 0.0 for row in first)  # fmt: skip


def test_another_model_endpoint_prompt_or_setting_is_another_answer(server, tmp_path):
    def once(prompt, sampling=GREEDY, model="small", **options):
        asker = OpenAIBackend(model, server.url, cache=tmp_path / "c.sqlite", retries=QUICK, **options)
        all_of(asker, [prompt], sampling)
        return len(server.requests)

    tools = ({"type": "function", "function": {"name": "f"}},)
    assert once(ask("hi")) == once(ask("hi", row="other id, same words")) == 1
    different = [
        once(ask("ho")), once(ask("hi", tools=tools)), once(ask("hi"), Sampling(9)),
        once(ask("hi"), Sampling(8, temperature=0.5)), once(ask("hi"), Sampling(8, temperature=0.5, seed=1)),
        once(ask("hi"), model="large"), once(ask("hi"), identity="another model on the same port"),
    ]  # fmt: skip
    assert different == [2, 3, 4, 5, 6, 7, 8]


def test_errors_are_never_kept(server, tmp_path):
    server.faults.append("400")
    asker = backend(server, cache=tmp_path / "c.sqlite")
    assert all_of(asker, [ask("hi")])["r1"].error
    assert all_of(asker, [ask("hi")])["r1"].text == "echo: hi"


def test_a_cache_survives_a_kill_and_says_clean_when_it_is_none(server, tmp_path):
    import signal
    import subprocess
    import sys

    path = tmp_path / "c.sqlite"
    code = (
        "import sys; from pathlib import Path\n"
        "from tunewright.backends.cache import AnswerCache; from tunewright.backends.wire import Answer\n"
        f"cache = AnswerCache(Path({str(path)!r}))\n"
        "for i in range(10**9):\n"
        "    cache.put(str(i), Answer('x' * 1000, 'stop', None)); print(i, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    written = [int(writer.stdout.readline()) for _ in range(50)]
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    from tunewright.backends.cache import AnswerCache

    cache = AnswerCache(path)
    assert all(cache.get(str(i)).text == "x" * 1000 for i in written)
    cache.close()
    assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "none.sqlite").write_text("this is a letter to my aunt, and no database at all" * 100)
    with pytest.raises(DataError, match=r"none\.sqlite"):
        AnswerCache(tmp_path / "none.sqlite")
