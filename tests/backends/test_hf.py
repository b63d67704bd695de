import pytest
import torch

from tunewright.backends.hf import HfBackend, in_order, plan_batches, shared_start
from tunewright.backends.protocol import Prompt, Sampling
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


def test_a_start_that_all_prompts_share_changes_no_answer(backend, toy_model):
    asked = prompts(shared=range(100, 140))
    assert shared_start([p.token_ids for p in asked]) == 40
    found = answers(backend, asked)
    for prompt in asked:
        assert list(found[prompt.id].token_ids) == one_by_one(toy_model, prompt)


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


def test_a_short_shared_start_is_not_worth_its_bookkeeping():
    assert shared_start([(1, 2, 3), (1, 2, 4)]) == 0


def test_every_prompt_keeps_a_token_of_its_own():
    start = tuple(range(20))
    assert shared_start([start, (*start, 7)]) == 19


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


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


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
