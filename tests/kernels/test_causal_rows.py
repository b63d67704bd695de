from types import SimpleNamespace

import pytest
import torch

from tunewright.kernels import causal_rows as module
from tunewright.kernels.causal_rows import MOST_KEYS, causal_rows, fits_causal_rows
from tunewright.kernels.packed_attention import packed_attention, rows_by_torch
from tunewright.models.precision import cpu_has_bfloat16

HEADS, SIZE, SCALE = 6, 16, 0.3
NAMES = ("out", "query", "key", "value")


def inputs(lengths, groups, dtype):
    torch.manual_seed(0)
    shapes = [(HEADS, sum(lengths), SIZE)] + 2 * [(HEADS // groups, sum(lengths), SIZE)]
    return [torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes]


def computed(attention, tensors, lengths, seed=1):
    """Output and gradients, as float64."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = attention(*leaves, lengths)
    torch.manual_seed(seed)
    out.backward(torch.randn(out.shape, dtype=torch.float64).to(out.dtype))
    return [t.double() for t in (out, *(leaf.grad for leaf in leaves))]


def ours(q, k, v, lengths):
    return causal_rows(q, k, v, lengths, SCALE)


def by_torch(q, k, v, lengths):
    return rows_by_torch(q[None], k[None], v[None], lengths, SCALE)[0]


def chosen(q, k, v, lengths):
    return packed_attention(SimpleNamespace(), q[None], k[None], v[None], None, SCALE, lengths)[0][0]


def errors(found, true):
    return {name: ((a - b).norm() / b.norm()).item() for name, a, b in zip(NAMES, found, true, strict=True)}


@pytest.mark.parametrize("most_scores", [1 << 22, 150])  # whole rows; a few queries at a time
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("lengths", [[0, 7, 1, 12], [5, 7, 1, 12], [4, 9], [21, 32, 17]])
def test_output_and_gradients_are_those_of_float64(lengths, groups, most_scores, monkeypatch):
    monkeypatch.setattr(module, "MOST_SCORES", most_scores)
    true = computed(by_torch, inputs(lengths, groups, torch.float64), lengths)
    found = computed(ours, inputs(lengths, groups, torch.float32), lengths)
    for name, one, other in zip(NAMES, found, true, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5, msg=lambda told, name=name: f"{name}: {told}")


@pytest.mark.parametrize("lengths", [[0, 70, 33], [41, 60, 90]])
def test_in_bfloat16_no_gradient_is_further_from_the_truth_than_torchs(lengths):
    rounded = inputs(lengths, 3, torch.bfloat16)
    true = computed(by_torch, [t.double() for t in rounded], lengths)
    found, reference = (errors(computed(how, rounded, lengths), true) for how in (ours, by_torch))
    for name in NAMES:
        assert found[name] < max(1.3 * reference[name], 2e-3), (name, found, reference)


def names_of(node):
    return "" if node is None else node.name() + "".join(names_of(parent) for parent, _ in node.next_functions)


def test_packed_attention_takes_it_where_the_cpu_has_bfloat16_and_gradients_are_wanted():
    lengths = [3, 5, 4]
    tensors = inputs(lengths, 2, torch.bfloat16)
    wanted = chosen(*(t.clone().requires_grad_() for t in tensors), lengths)
    assert ("_CausalRows" in names_of(wanted.grad_fn)) is cpu_has_bfloat16()
    without = chosen(*tensors, lengths)
    assert without.grad_fn is None
    torch.testing.assert_close(wanted, without, rtol=2**-6, atol=2**-6)
    wide = torch.cat([tensors[2], tensors[2]], -1)  # values wider than queries: torch's way
    out = chosen(tensors[0].requires_grad_(), tensors[1], wide, lengths)
    assert out.shape[-1] == 2 * SIZE and "_CausalRows" not in names_of(out.grad_fn)


def test_it_fits_rows_whose_keys_are_few_on_a_cpu_that_has_bfloat16():
    query = torch.empty(1, HEADS, 1, SIZE, dtype=torch.bfloat16)
    has = cpu_has_bfloat16()
    assert fits_causal_rows(query, query, [12, 300, MOST_KEYS - 12]) is has
    assert fits_causal_rows(query, query, [12]) is has
    assert not fits_causal_rows(query, query, [13, 300, MOST_KEYS - 12])
    assert not fits_causal_rows(query, query, [0, MOST_KEYS + 1])
    assert not fits_causal_rows(query.float(), query.float(), [0, 300])
