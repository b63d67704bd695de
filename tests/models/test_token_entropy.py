import math

import pytest
import torch

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.render import Renderer
from tunewright.errors import DataError
from tunewright.models.load import load_model
from tunewright.models.token_entropy import NUM_ALTERNATIVES, analyse_rows, beliefs


def row(row_id="r1", question="What is 2 plus 2?", answer="2 plus 2 is 4."):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return ChatRow(id=row_id, messages=messages)


@pytest.fixture(scope="module")
def toy(toy_model):
    """The toy model with a head that has opinions: random small weights are all but uniform."""
    model = load_model(toy_model, "float32")
    torch.manual_seed(1)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    return model


@pytest.fixture(scope="module")
def renderer(toy_model):
    return Renderer.from_folder(toy_model)


def test_entropy_and_nll_are_those_of_the_whole_distribution(toy, renderer):
    ids = renderer.conversation(row().messages).token_ids
    with torch.inference_mode():
        log_p = toy(input_ids=torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    for belief, expected, label in zip(beliefs(toy, ids), log_p, ids[1:], strict=True):
        assert belief.entropy == pytest.approx(float(-(expected.exp() * expected).sum()), abs=1e-4)
        assert belief.nll == pytest.approx(float(-expected[label]), rel=1e-4)
        assert belief.rank == 1 + int((expected > expected[label]).sum())


def test_alternatives_are_the_likeliest_words_with_their_probabilities(toy, renderer):
    ids = renderer.conversation(row().messages).token_ids
    with torch.inference_mode():
        p = toy(input_ids=torch.tensor([ids])).logits[0, :-1].double().softmax(-1)
    best = p.topk(NUM_ALTERNATIVES)
    for belief, values, indices in zip(beliefs(toy, ids), best.values, best.indices, strict=True):
        assert [token for token, _ in belief.top] == indices.tolist()
        assert [share for _, share in belief.top] == pytest.approx(values.tolist(), rel=1e-3)


@pytest.mark.parametrize("chunk_tokens", [1, 7, 1000])
def test_the_size_of_the_chunks_changes_nothing(toy, renderer, chunk_tokens):
    ids = renderer.conversation(row().messages).token_ids
    whole, cut = beliefs(toy, ids), beliefs(toy, ids, chunk_tokens)
    assert [b.entropy for b in cut] == pytest.approx([b.entropy for b in whole], abs=1e-4)
    assert [b.nll for b in cut] == pytest.approx([b.nll for b in whole], abs=1e-4)


def test_a_row_comes_back_as_its_tokens_and_the_first_is_predicted_by_nothing(toy, renderer):
    (told,) = analyse_rows(toy, renderer, [row(answer="é 🎉 fine")])
    rendered = renderer.conversation(row(answer="é 🎉 fine").messages)
    assert "".join(token.text for token in told.tokens) == rendered.text
    assert [token.id for token in told.tokens] == rendered.token_ids
    assert [token.trained for token in told.tokens] == rendered.trained
    first, *others = told.tokens
    assert (first.entropy, first.nll, first.rank, first.top) == (None, None, None, ())
    assert all(0 <= token.entropy <= math.log(49152) + 1e-3 and len(token.top) == 5 for token in others)
    assert all(token.role == "assistant" for token in told.tokens if token.trained)


def test_a_row_beyond_the_context_is_named_and_never_cut(toy, renderer):
    with pytest.raises(DataError, match=r"row long: 641 tokens\n  expected: at most 512"):
        list(analyse_rows(toy, renderer, [row("long", "word " * 600)]))


@pytest.mark.real_model
def test_the_real_model_doubts_an_answer_less_than_nonsense(smollm2_folder):
    renderer, model = Renderer.from_folder(smollm2_folder), load_model(smollm2_folder, "float32")
    rows = [
        row("sense", "What is the capital of France?", "The capital of France is Paris."),
        row("nonsense", "What is the capital of France?", "Spoon quantum the the seven of."),
    ]
    sense, nonsense = (
        [token.nll for token in told.tokens if token.trained] for told in analyse_rows(model, renderer, rows)
    )
    assert sum(sense) / len(sense) < 0.5 < 4 < sum(nonsense) / len(nonsense)
