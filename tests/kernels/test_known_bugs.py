"""Bugs that other implementations of this head have had, each with its thread.

One more, DTensor weights of FSDP2 (apple/ml-cross-entropy#31), needs two processes: test_parallel.py.
"""

import math

import pytest
import torch
from tests.kernels.reference import Problem, problem, reference

from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.kernels.rows import row_coefficients, row_grad_, row_stats
from tunewright.losses.selection import exact_threshold
from tunewright.recipe.sections import EntropyConfig

PLANS = [{}, {"differentiable_entropy": True}]


@pytest.mark.parametrize("ignored", [(), (0, 1, 2)], ids=["all count", "the first are ignored"])
def test_each_row_is_multiplied_by_its_own_upstream_gradient(ignored):
    """linkedin/Liger-Kernel#968, #680: every row took the gradient of the first, 0 where that was ignored."""
    p = problem(20, ignored=ignored)
    expected = p.copy()
    upstream = torch.randn(20, dtype=torch.float64) * (torch.arange(20) % 3 == 0)
    p.fused(reduction="none").loss.backward(upstream)
    loss_n = reference(expected, reduction="none")[0]
    loss_n.backward(upstream[p.labels != -100])
    for found, wanted in zip(p.grads(), expected.grads(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_gradient_at_the_label_survives_bfloat16():
    """linkedin/Liger-Kernel#1329: p_y rounds to 1 in bfloat16, and p_y - 1 to 0."""
    logits = torch.zeros(1, 64, dtype=torch.bfloat16)
    logits[0, 3] = 10.5
    labels = torch.tensor([3])
    stats = row_stats(logits, labels)
    exact = float(logits.double().softmax(-1)[0, 3] - 1)
    assert torch.tensor(exact + 1).bfloat16() == 1
    row_grad_(logits, labels, stats.max, row_coefficients(stats, 64, loss_scale_N=torch.ones(1)))
    assert float(logits[0, 3]) == pytest.approx(exact, rel=2**-8)


def test_the_gradient_of_the_head_is_summed_up_in_float32_over_many_chunks():
    """linkedin/Liger-Kernel#512, #827, apple/ml-cross-entropy#14: sums in bfloat16 lost what each chunk added."""
    p = problem(1024, 16, 64, dtype=torch.bfloat16)
    with torch.no_grad():
        p.hidden += 1  # all chunks push the same way, so the sum grows and what comes last is rounded off
    expected = p.copy(torch.float64)
    reference(expected)[0].backward()

    def error(**options):
        q = p.copy()
        q.fused(compute_dtype=torch.bfloat16, backend="eager", chunk_bytes=8 * 64 * 2, **options).loss.backward()
        return float((q.weight.grad - expected.weight.grad).norm() / expected.weight.grad.norm())

    assert error() < 3e-3 < error(accumulate="compute")


def test_the_entropy_has_its_gradient_or_says_that_it_has_none():
    """huggingface/trl#6625: silently absent. prime-rl asserts that nobody asks."""
    p = problem(20)
    assert not p.fused().entropy.requires_grad
    expected = p.copy()
    p.fused(differentiable_entropy=True).entropy.sum().backward()
    reference(expected)[1].entropy.sum().backward()
    for found, wanted in zip(p.grads(), expected.grads(), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("plan", PLANS, ids=["P1", "P3"])
def test_accumulation_divides_by_what_it_is_told_and_nothing_else(plan):
    """unslothai/unsloth#8261: three parts disagreed on who divides by the number of micro-batches."""
    p = problem(40, ignored=range(5))
    expected = p.copy()
    reference(expected, denom=35.0)[0].backward()
    for hidden, labels in zip(p.hidden.split(10), p.labels.split(10), strict=True):
        fused_linear_ce(hidden, p.weight, labels, denom=35, **plan).loss.backward()
    for found, wanted in zip(p.grads(), expected.grads(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_label_smoothing_and_an_adapter_on_the_head_both_work():
    """huggingface/trl#5575: smoothing crashed the chunked loss, and a PEFT-wrapped head was refused."""
    p = problem(20, ignored=(0,))
    a, b = torch.randn(2, 24, dtype=torch.float64), torch.randn(101, 2, dtype=torch.float64)
    adapters = [t.requires_grad_() for t in (a, b)]
    twins = [t.detach().clone().requires_grad_() for t in adapters]
    frozen = p.weight.detach()
    Problem(p.hidden, frozen + b @ a, p.labels).fused(label_smoothing=0.1).loss.backward()
    reference(Problem(p.hidden, frozen + twins[1] @ twins[0], p.labels), label_smoothing=0.1)[0].backward()
    for found, wanted in zip(adapters, twins, strict=True):
        torch.testing.assert_close(found.grad, wanted.grad)


def test_logits_far_below_zero_and_a_width_of_576_are_nothing_special():
    """verl: the running maximum began at 0, so rows below -88 underflowed; and H % 128 != 0 was refused."""
    p = problem(8, 576, 33, spread=0.05, bias=True, dtype=torch.float32)
    with torch.no_grad():
        p.bias -= 1000
    expected = p.copy(torch.float64)
    loss, stats, _ = reference(expected)
    out = p.fused()
    torch.testing.assert_close(out.entropy.double(), stats.entropy, rtol=0, atol=1e-3)  # of logits near -1000
    torch.testing.assert_close(out.loss.double(), loss, rtol=1e-4, atol=0)


@pytest.mark.parametrize("library", ["axolotl", "llama_factory"])
def test_a_batch_without_a_trained_token_gives_zero_and_not_nan(library):
    """axolotl's EAFT gives NaN for it (monkeypatch/loss/eaft.py); and trl#5823 ignored EAFT beside a fused head."""
    config = EntropyConfig(type="linear", eaft_compat=library)
    p = problem(6, ignored=range(6))
    out = p.fused(weighting=config)
    out.loss.backward()
    assert out.loss == 0 and not p.weight.grad.any()
    assert problem(6).fused(weighting=config).loss != problem(6).fused().loss


def test_the_top_share_is_averaged_over_the_selected_tokens():
    """TRL and ms-swift divide by all tokens, so that a share of 0.2 trains at a fifth of the rate; Eq. 6 of
    arXiv:2506.01939 divides by the selected ones.
    """
    out = problem(50).fused(weighting=EntropyConfig(type="top_quantile"))
    chosen = out.weight > 0
    assert chosen.sum() == 10
    torch.testing.assert_close(out.loss, out.nll[chosen].mean())


def test_thresholds_are_found_among_more_than_2_to_the_24_tokens():
    """torch.quantile: "input tensor is too large" from 16,777,217 elements."""
    entropy = torch.arange(2**24 + 1, dtype=torch.float32).mul_(1e-6)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(entropy, 0.8)
    cut = exact_threshold(entropy, None, 0.8)
    assert float(cut.share) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("offset", [0.0, 2.0**24])
def test_two_equal_words_cost_ln_2_at_any_offset(offset):
    """PyTorch's kernel notes: with (m + log s) - z_y, logits of 2^24 make log 2 come out as 0."""
    logits = torch.full((1, 10), -math.inf)
    logits[0, :2] = offset
    stats = row_stats(logits, torch.tensor([1]))
    assert float(stats.nll) == pytest.approx(math.log(2))
    assert float(stats.entropy) == pytest.approx(math.log(2))
