import pytest
import torch
from transformers.cache_utils import Cache, DynamicLayer

from tunewright.backends.hf import HfBackend, in_order, plan_batches
from tunewright.backends.kv import RoomyLayer, keep_rows
from tunewright.backends.prefill import HELD_TOKENS, shared_start
from tunewright.backends.protocol import Continuation, Prompt, Sampling
from tunewright.errors import ModelError
from tunewright.models.load import load_model

STOP = 2


@pytest.fixture(scope="module")
def backend(toy_model):
    return HfBackend(load_model(toy_model, "float32"), (STOP,), STOP, batch_size=3)


def prompts(shared=()):
    generator = torch.Generator().manual_seed(1)
    lengths = [5, 9, 7, 30, 3, 12, 9]
    rows = [torch.randint(3, 4000, (n,), generator=generator).tolist() for n in lengths]
    return [Prompt(id=f"p{i}", token_ids=(*shared, *row)) for i, row in enumerate(rows)]


TWELVE = Sampling(12)


def answers(backend, asked, sampling=TWELVE, done=frozenset()):
    return {c.id: c for batch in backend.generate(asked, sampling, done) for c in batch}


def one_by_one(toy_model, prompt, steps=12):
    """The answer of transformers itself, to this prompt alone."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(toy_model).eval()
    ids = torch.tensor([prompt.token_ids])
    options = {"do_sample": False, "pad_token_id": STOP, "eos_token_id": STOP, "max_new_tokens": steps}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, ids.shape[1] :].tolist()
    return out[: out.index(STOP)] if STOP in out else out


def test_batched_answers_equal_those_of_transformers_one_by_one(backend, toy_model):
    found = answers(backend, prompts())
    for prompt in prompts():
        assert list(found[prompt.id].token_ids) == one_by_one(toy_model, prompt)


@pytest.mark.parametrize("length", [HELD_TOKENS - 1, HELD_TOKENS])
def test_a_start_that_all_prompts_share_changes_no_answer(backend, toy_model, length):
    start = tuple(range(100, 100 + length))
    asked = prompts(shared=start)
    assert shared_start([p.token_ids for p in asked]) == start
    found = answers(backend, asked)
    for prompt in asked:
        assert list(found[prompt.id].token_ids) == one_by_one(toy_model, prompt)


def test_a_start_that_only_most_prompts_share_changes_no_answer(backend, toy_model):
    odd = prompts()[:2]
    asked = [Prompt(f"odd-{prompt.id}", prompt.token_ids) for prompt in odd] + prompts(shared=range(100, 140))
    assert len(shared_start([p.token_ids for p in asked])) == 40
    found = answers(backend, asked)
    for prompt in asked:
        assert list(found[prompt.id].token_ids) == one_by_one(toy_model, prompt), prompt.id


def test_the_shared_start_is_the_one_that_saves_most():
    tools, task = tuple(range(100, 150)), tuple(range(200, 250))
    rows = [(1, n) for n in range(3)] + [(*tools, n) for n in range(3)] + [(*tools, *task, n) for n in range(9)]
    assert shared_start(rows) == (*tools, *task)
    assert shared_start(rows[1:6]) == tools
    assert shared_start(rows[:5]) == ()  # most rows do not have it


def test_the_same_prompt_over_and_over_has_no_start_to_share():
    assert shared_start([tuple(range(50))] * 5) == ()


def test_rows_that_finish_leave_and_the_others_go_on_unchanged(toy_model):
    model = load_model(toy_model, "float32")
    whole = answers(HfBackend(model, (STOP,), STOP, batch_size=7), prompts())
    # a token that some answer has in its middle now stops it: that row leaves early, its mates must not notice
    stop = whole["p3"].token_ids[4]
    found = answers(HfBackend(model, (STOP, stop), STOP, batch_size=7), prompts())
    for key, completion in whole.items():
        ids = completion.token_ids
        cut = ids.index(stop) if stop in ids else len(ids)
        assert found[key].token_ids == ids[:cut]
        assert found[key].finish == ("stop" if stop in ids else completion.finish)


@pytest.mark.parametrize("kept", [[0, 1, 2], [2, 4], [1, 2, 3, 4], [4], [0, 3, 4]])
def test_of_a_cache_the_rows_that_go_on_are_kept_and_named(kept):
    states = torch.arange(5.0)[:, None, None, None] + torch.arange(6.0).reshape(1, 1, 3, 2)
    cache = Cache(layers=[RoomyLayer(), DynamicLayer()])
    for layer in range(2):
        cache.update(states, -states, layer)
    order = keep_rows(cache, kept)
    assert sorted(order) == kept
    more = torch.ones(len(kept), 1, 1, 2)
    for layer in range(2):
        keys, values = cache.update(more, -more, layer)
        assert torch.equal(keys, torch.cat([states[order], more], dim=2)) and torch.equal(values, -keys)


def test_answers_stop_at_the_length_limit_and_say_so(backend):
    found = answers(backend, prompts(), Sampling(2))
    assert {len(c.token_ids) for c in found.values()} == {2}
    assert {c.finish for c in found.values()} == {"length"}


def test_a_resumed_generation_repeats_the_batches_of_the_undisturbed_one(backend):
    whole = [[c.id for c in batch] for batch in backend.generate(prompts(), Sampling(4))]
    resumed = [[c.id for c in batch] for batch in backend.generate(prompts(), Sampling(4), done=set(whole[0]))]
    assert resumed == whole[1:]


def test_nothing_is_computed_when_everything_is_done(backend):
    assert list(backend.generate(prompts(), Sampling(4), done={p.id for p in prompts()})) == []


def test_seconds_of_a_batch_are_shared_over_its_answers(backend):
    batch = next(iter(backend.generate(prompts(), Sampling(4))))
    assert all(c.seconds > 0 for c in batch)


def test_batches_hold_rows_of_similar_length_longest_first():
    lengths = [[len(p.token_ids) for p in batch] for batch in plan_batches(prompts(), 3)]
    assert lengths == [[30, 12, 9], [9, 7, 5], [3]]


def test_batches_at_one_time_are_dealt_like_rows_and_none_is_left_over():
    lengths = [[len(p.token_ids) for p in batch] for batch in plan_batches(prompts(), 2, at_once=2)]
    assert lengths == [[30, 9], [12, 9], [7, 3], [5]]
    assert plan_batches(prompts()[:1], 2, at_once=4) == [prompts()[:1]]


def test_rows_with_one_prompt_are_dealt_together_as_far_as_a_batch_holds_them():
    asked = [Prompt(f"{name}-{n}", ids) for name, ids in (("a", (1, 2)), ("b", (1, 3))) for n in range(3)]
    assert [[p.id for p in batch] for batch in plan_batches(asked, 3, at_once=2)] == [
        ["a-0", "a-1", "a-2"], ["b-0", "b-1", "b-2"],
    ]  # fmt: skip
    assert sorted(len(batch) for batch in plan_batches(asked[:3], 2, at_once=2)) == [1, 2]


def test_a_short_shared_start_is_not_worth_its_bookkeeping():
    assert shared_start([(1, 2, 3), (1, 2, 4)]) == ()


def test_every_prompt_keeps_a_token_of_its_own():
    start = tuple(range(20))
    assert shared_start([start, (*start, 7)]) == start[:19]


def stable_lm():
    from transformers import AutoModelForCausalLM, StableLmConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = StableLmConfig(**sizes, num_key_value_heads=2, vocab_size=5000)
    return AutoModelForCausalLM.from_config(config).eval()


def test_a_model_that_keeps_arguments_from_its_attention_still_sees_the_shared_start():
    asked = prompts(shared=range(100, 140))
    model = stable_lm()
    found = answers(HfBackend(model, (STOP,), STOP, batch_size=3), asked)
    assert model.config._attn_implementation == "sdpa"
    for prompt in asked:
        ids = torch.tensor([prompt.token_ids])
        best = int(model(ids, use_cache=False).logits[0, -1].argmax())
        assert list(found[prompt.id].token_ids)[:1] == [best]


def small(config_class, **more):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = config_class(**{**sizes, "vocab_size": 5000, "pad_token_id": STOP, "eos_token_id": STOP, **more})
    return AutoModelForCausalLM.from_config(config).eval()


def with_sliding_windows():
    from transformers import Gemma3TextConfig

    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    return small(Gemma3TextConfig, head_dim=8, num_hidden_layers=3, layer_types=kinds, sliding_window=16)


def with_convolutions():
    from transformers import Lfm2Config

    return small(Lfm2Config, num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"])


def with_recurrent_states():
    from transformers import FalconH1Config

    more = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
    return small(FalconH1Config, head_dim=8, num_hidden_layers=2, **more)


@pytest.mark.parametrize("make", [with_sliding_windows, with_convolutions, with_recurrent_states])
def test_other_caches_give_the_answers_of_each_prompt_alone(make):
    model = make()
    asked = prompts(shared=range(100, 140))
    alone = {p.id: answers(HfBackend(model, (STOP,), STOP, batch_size=1), [p])[p.id].token_ids for p in asked}
    stop = alone["p3"][4]  # in the middle of an answer: that row leaves early
    for ends in ((STOP,), (STOP, stop)):
        found = answers(HfBackend(model, ends, STOP, batch_size=4), [*asked, Prompt("again", asked[0].token_ids)])
        for key, ids in {**alone, "again": alone["p0"]}.items():
            cut = min((ids.index(end) for end in ends if end in ids), default=len(ids))
            assert found[key].token_ids == ids[:cut], key


@pytest.fixture
def two_threads(set_threads):
    set_threads(2)


def test_batches_that_run_at_the_same_time_give_the_answers_of_batches_in_turn(two_threads, toy_model):
    model = load_model(toy_model, "float32")
    asked = prompts(shared=range(100, 140))
    found = answers(HfBackend(model, (STOP,), STOP, batch_size=2), asked)
    for prompt in asked:
        assert list(found[prompt.id].token_ids) == one_by_one(toy_model, prompt)
    assert torch.get_num_threads() == 2


def test_what_goes_wrong_in_one_batch_is_told_and_ends_the_others(two_threads):
    def work(batch, stop):
        if batch == ["bad"]:
            raise RuntimeError("no memory left")
        assert stop.wait(30), "was never told to stop"
        return []

    with pytest.raises(RuntimeError, match="no memory left"):
        list(in_order(work, [["bad"], ["good"]], num_workers=2))


# ── drawn answers ───────────────────────────────────────────────────────────────────────────────────────────────────

DRAWN = Sampling(12, temperature=1.0, top_p=0.9, seed=3)


def test_a_drawn_answer_does_not_depend_on_its_batch_mates(toy_model):
    model = load_model(toy_model, "float32")
    together = answers(HfBackend(model, (STOP,), STOP, batch_size=7), prompts(), DRAWN)
    for prompt in prompts():
        alone = answers(HfBackend(model, (STOP,), STOP, batch_size=1), [prompt], DRAWN)
        assert alone[prompt.id].token_ids == together[prompt.id].token_ids


def test_drawn_answers_differ_from_greedy_ones_and_with_the_seed(backend):
    greedy, drawn = answers(backend, prompts()), answers(backend, prompts(), DRAWN)
    other = answers(backend, prompts(), Sampling(12, temperature=1.0, top_p=0.9, seed=4))
    for key in greedy:
        assert len({greedy[key].token_ids, drawn[key].token_ids, other[key].token_ids}) == 3


def test_a_drawn_answer_follows_the_distribution_of_the_model(toy_model):
    from scipy.stats import chisquare

    model = load_model(toy_model, "float32")
    ids = prompts()[0].token_ids
    asked = [Prompt(f"r{i}", ids) for i in range(2000)]
    cold = Sampling(1, temperature=0.05, seed=1)
    found = answers(HfBackend(model, (STOP,), STOP, batch_size=500), asked, cold)
    said = torch.tensor([c.token_ids[0] if c.token_ids else STOP for c in found.values()])
    with torch.inference_mode():
        probs = (model(torch.tensor([ids])).logits[0, -1] / 0.05).softmax(-1)
    best = probs.topk(4).indices
    counts = [int((said == word).sum()) for word in best]
    expected = (2000 * probs[best]).tolist()
    assert chisquare([*counts, 2000 - sum(counts)], [*expected, 2000 - sum(expected)]).pvalue > 0.001


def test_greedy_answers_to_the_same_prompt_are_the_same_as_of_one_asked_once(backend, toy_model):
    prompt = prompts()[3]
    found = answers(backend, [Prompt(f"p#{i}", prompt.token_ids) for i in range(5)] + prompts()[:2])
    for i in range(5):
        assert list(found[f"p#{i}"].token_ids) == one_by_one(toy_model, prompt)


def test_an_answer_ends_before_a_stop_text(toy_model):
    from tunewright.chat.render import Renderer

    model, renderer = load_model(toy_model, "float32"), Renderer.from_folder(toy_model)
    backend = HfBackend(model, (STOP,), STOP, batch_size=7, decode=renderer.decode)
    whole = answers(backend, prompts())
    text = renderer.decode(whole["p3"].token_ids)
    stop = text[len(text) // 2 :][:3]
    found = answers(backend, prompts(), Sampling(12, stop=(stop,)))
    assert found["p3"].text == text[: text.index(stop)]
    assert found["p3"].finish == "stop"
    others = {key: renderer.decode(c.token_ids) for key, c in whole.items()}
    assert all(found[key].text == said.partition(stop)[0] for key, said in others.items())


# ── log-probabilities ───────────────────────────────────────────────────────────────────────────────────────────────


def reference_log_probs(model, one):
    with torch.inference_mode():
        log_probs = model(torch.tensor([one.token_ids]), use_cache=False).logits[0].log_softmax(-1)
    return [float(log_probs[at - 1, one.token_ids[at]]) for at in range(one.start, len(one.token_ids))]


def continuations(shared=()):
    asked = []
    for prompt in prompts(shared):
        for option, length in enumerate((1, 4, 2)):
            more = tuple(range(50 * option + 10, 50 * option + 10 + length))
            asked.append(Continuation(f"{prompt.id}/{option}", prompt.token_ids + more, len(prompt.token_ids)))
    return asked


@pytest.mark.parametrize(
    "shared", [(), tuple(range(100, 140)), tuple(range(100, 200))], ids=["apart", "a short start", "a long start"]
)
@pytest.mark.parametrize("kind", ["llama", "stablelm"])
def test_log_probs_are_those_of_one_plain_pass_over_the_text(toy_model, shared, kind):
    model = load_model(toy_model, "float32") if kind == "llama" else stable_lm()
    asked = continuations(shared)
    expected = {one.id: reference_log_probs(model, one) for one in asked}
    backend = HfBackend(model, (STOP,), STOP, batch_size=4)
    found = {score.id: score for batch in backend.log_probs(asked) for score in batch}
    assert found.keys() == expected.keys()
    for key, score in found.items():
        assert score.log_probs == pytest.approx(expected[key], abs=2e-4)


def test_long_texts_are_read_in_stretches(toy_model):
    model = load_model(toy_model, "float32")
    ids = torch.randint(3, 4000, (3, 400), generator=torch.Generator().manual_seed(2)).tolist()
    asked = [Continuation(f"t{i}", tuple(row[: 400 - 90 * i]), 1) for i, row in enumerate(ids)]
    backend = HfBackend(model, (STOP,), STOP, batch_size=3)  # 512 // 3 tokens of each at once
    found = {score.id: score for batch in backend.log_probs(asked) for score in batch}
    for one in asked:
        assert found[one.id].log_probs == pytest.approx(reference_log_probs(model, one), abs=2e-4)


def test_a_greedy_answer_is_told_as_greedy_and_another_is_not(toy_model):
    model = load_model(toy_model, "float32")
    backend = HfBackend(model, (STOP,), STOP, batch_size=4)
    prompt = prompts()[0]
    said = answers(backend, [prompt])[prompt.id].token_ids
    other = (*said[:-1], (said[-1] + 1) % 4000)
    start = len(prompt.token_ids)
    asked = [Continuation(name, prompt.token_ids + ids, start) for name, ids in (("said", said), ("other", other))]
    found = {score.id: score for batch in backend.log_probs(asked) for score in batch}
    assert found["said"].is_greedy
    assert not found["other"].is_greedy


def test_scoring_goes_on_with_the_batches_of_the_undisturbed_one(backend):
    whole = [[score.id for score in batch] for batch in backend.log_probs(continuations())]
    resumed = [[score.id for score in batch] for batch in backend.log_probs(continuations(), done=set(whole[0]))]
    assert resumed == whole[1:]


def test_a_text_with_nothing_before_it_is_refused(backend):
    with pytest.raises(ValueError, match="x: start 0 of 3 tokens"):
        list(backend.log_probs([Continuation("x", (1, 2, 3), 0)]))


def test_a_model_that_would_forget_its_past_is_refused():
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=16, state_size=4, num_hidden_layers=1, expand=2, time_step_rank=4)
    with pytest.raises(ModelError, match="no `past_key_values`"):
        HfBackend(MambaForCausalLM(config).eval(), (2,), 0)
