"""The eager row functions against float64 autograd, and the traps of floating point."""

import math

import pytest
import torch

from tunewright.kernels.rows import RAW, LogitTransform, row_coefficients, row_grad_, row_loss, row_stats, top_logits

ALL_THREE = LogitTransform(logit_scale=1.7, softcap=5.0, temperature=0.7)


def exact(logits_NV):
    log_p = logits_NV.double().log_softmax(-1)
    return -(log_p.exp() * log_p).nan_to_num(nan=0.0).sum(-1)


def peaked(num_rows, vocab, seed=0):
    logits = torch.randn(num_rows, vocab, generator=torch.Generator().manual_seed(seed))
    logits[torch.arange(num_rows), torch.arange(num_rows) * 7 % vocab] += torch.linspace(0, 60, num_rows)
    return logits


@pytest.mark.parametrize("transform", [RAW, ALL_THREE], ids=["raw", "all"])
def test_the_gradient_of_every_output_is_that_of_autograd(transform):
    x = (torch.randn(7, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3).requires_grad_()
    labels = torch.tensor([0, 100, 5, 5, 50, 99, 7])
    z = x * transform.logit_scale
    z = z if transform.softcap is None else transform.softcap * torch.tanh(z / transform.softcap)
    log_p = (z / transform.temperature).log_softmax(-1)
    nll = -log_p.gather(1, labels[:, None]).squeeze(1)
    loss = 0.9 * nll - 0.1 * log_p.mean(-1) + 0.01 * (z / transform.temperature).logsumexp(-1).square()
    outputs = [loss, nll, -(log_p.exp() * log_p).sum(-1), log_p.exp().square().sum(-1)]
    upstream = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (expected,) = torch.autograd.grad(outputs, x, list(upstream))

    stats = row_stats(x.detach(), labels, transform, with_shift=True)
    names = ("loss_scale_N", "nll_scale_N", "entropy_scale_N", "collision_scale_N")
    scales = dict(zip(names, upstream, strict=True))
    coefficients = row_coefficients(stats, 101, **scales, label_smoothing=0.1, z_loss=0.01)
    got = row_grad_(x.detach().clone(), labels, stats.max, coefficients, transform)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(row_loss(stats, 101, label_smoothing=0.1, z_loss=0.01), loss.detach())
    for found, wanted in zip((stats.nll, stats.entropy, stats.collision), outputs[1:], strict=True):
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e3, 1e4])
@pytest.mark.parametrize("kind", ["peaked", "flat", "wide"])
def test_entropy_in_float32_is_exact_to_1e_5_and_never_negative(kind, offset):
    vocab = 50_001
    logits = {
        "peaked": peaked(24, vocab),
        "flat": torch.randn(4, vocab, generator=torch.Generator().manual_seed(0)) * 1e-3,
        "wide": torch.randn(4, vocab, generator=torch.Generator().manual_seed(0)) * 8,
    }[kind] + offset
    entropy = row_stats(logits, torch.zeros(len(logits), dtype=torch.int64)).entropy
    assert entropy.dtype == torch.float32
    assert entropy.min() >= 0
    assert (entropy - exact(logits)).abs().max() < 1e-5


def test_bfloat16_logits_have_float32_statistics():
    logits = peaked(16, 999).bfloat16()
    stats = row_stats(logits, torch.arange(16))
    assert {column.dtype for column in stats if column is not None} == {torch.float32}
    assert (stats.entropy - exact(logits)).abs().max() < 1e-5


def test_masked_words_neither_count_nor_make_nan():
    logits = torch.randn(3, 40)
    logits[:, 20:] = -math.inf
    stats, alone = row_stats(logits, torch.arange(3)), row_stats(logits[:, :20], torch.arange(3))
    for found, expected in zip(stats[:6], alone[:6], strict=True):
        torch.testing.assert_close(found, expected)
    coefficients = row_coefficients(stats, 40, loss_scale_N=torch.ones(3), entropy_scale_N=torch.ones(3))
    gradient = row_grad_(logits, torch.arange(3), stats.max, coefficients)
    assert not gradient[:, 20:].any() and gradient.isfinite().all()


def test_a_nan_stays_in_its_row():
    logits = torch.randn(3, 40)
    logits[1, 5] = math.nan
    stats = row_stats(logits, torch.arange(3))
    assert stats.nll.isnan().tolist() == stats.entropy.isnan().tolist() == [False, True, False]


def test_the_statistics_leave_the_logits_as_they_are():
    logits = torch.randn(5, 33)
    before = logits.clone()
    row_stats(logits, torch.arange(5), ALL_THREE)
    assert torch.equal(logits, before)


@pytest.fixture
def one_thread(set_threads):
    """Several would cut one row into parts, and many rows into other ones."""
    set_threads(1)


def test_a_row_walked_alone_gives_the_bits_it_gives_among_others(one_thread):
    logits, labels = peaked(24, 50_001), torch.arange(24)  # 10 rows make a block
    together = row_stats(logits, labels, ALL_THREE, with_shift=True)
    alone = [row_stats(logits[i : i + 1], labels[i : i + 1], ALL_THREE, with_shift=True) for i in range(24)]
    for column, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.equal(column, torch.cat(parts))


def test_a_label_of_another_shard_has_no_logit_and_takes_nothing_off():
    logits = torch.randn(2, 9)
    stats = row_stats(logits, torch.tensor([-1, 3]))
    assert stats.target[0] == 0 and stats.target[1] == logits[1, 3] and stats.correct[0] == 0
    gradient = row_grad_(
        logits, torch.tensor([-1, 3]), stats.max, row_coefficients(stats, 9, loss_scale_N=torch.ones(2))
    )
    torch.testing.assert_close(gradient.sum(1), torch.tensor([1.0, 0.0]))


def test_of_equal_logits_the_first_is_the_likeliest_word():
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]]).expand(3, 4).contiguous()
    assert row_stats(logits, torch.tensor([1, 2, 3])).correct.tolist() == [1, 0, 0]


def test_top_logits_are_those_of_the_transformed_row():
    logits = torch.randn(4, 50)
    values, ids = top_logits(logits, 5, ALL_THREE)
    expected = 5 * torch.tanh(logits * 1.7 / 5) / 0.7
    torch.testing.assert_close(values, expected.topk(5).values)
    assert torch.equal(ids, expected.topk(5).indices)
