"""Every weighting against its formula, written out on the full softmax in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.losses.entropy import TokenStats, token_stats
from tunewright.losses.selection import Selector, Thresholds, exact_thresholds
from tunewright.losses.weighting import normalizer, weight_tokens, weighted_nll
from tunewright.recipe.sections import EntropyConfig
from tunewright.recipe.weighting import KINDS

N, VOCAB = 40, 60
RANDOM = torch.Generator().manual_seed(0)
LOGITS = torch.randn(N, VOCAB, generator=RANDOM, dtype=torch.float64) * torch.linspace(0.1, 6, N)[:, None].double()
LABELS = torch.where(torch.arange(N) % 2 == 0, LOGITS.argmax(1), torch.randint(0, VOCAB, (N,), generator=RANDOM))
EXTERNAL = torch.rand(N, generator=RANDOM, dtype=torch.float64)

P = LOGITS.softmax(1)
H = -(P * P.log()).sum(1)
HN = H / math.log(VOCAB)
PY = P.gather(1, LABELS[:, None])[:, 0]
NLL = -PY.log()
TOP20 = P.topk(20).values / P.topk(20).values.sum(1, keepdim=True)
H20 = -(TOP20 * TOP20.log()).sum(1)


def config(name, **fields):
    return EntropyConfig(type=name, **fields)


REFERENCES = [
    (config("none"), torch.ones(N)),
    (config("linear"), 0.1 + 0.9 * HN),
    (config("linear", power=2, floor=0), HN**2),
    (config("linear", power=0.5, floor=0.3), 0.3 + 0.7 * HN**0.5),
    (config("linear", floor=1), torch.ones(N)),
    (config("linear", eaft_compat="axolotl"), H20),
    (config("linear", eaft_compat="axolotl", power=2), H20**2),
    (config("linear", eaft_compat="llama_factory", power=3), (H20 / 3) ** 3),
    (config("exponential"), HN.exp()),
    (config("exponential", sharpness=4, clip=(2, 20)), (4 * HN).exp().clamp(2, 20)),
    (config("sigmoid"), 1 / (1 + (-30 * (HN - 0.17)).exp())),
    (config("sigmoid", sharpness=5, midpoint=0.5), 1 / (1 + (-5 * (HN - 0.5)).exp())),
    (config("top_quantile"), H.quantile(0.8) <= H),
    (config("top_quantile", quantile=0.5), H.quantile(0.5) <= H),
    (config("top_quantile", threshold=2.5), H >= 2.5),  # an array, not a constant
    (config("drop_top_quantile"), H.quantile(0.8) > H),
    (config("drop_top_quantile", threshold=2.5), H < 2.5),
    (config("conflict_mask", quantile=0.5), ~((H.quantile(0.5) >= H) & (PY.quantile(0.5) >= PY))),
    (config("dft"), PY),
    (config("dft", exponent=0.5), PY**0.5),
    (config("deft"), PY ** P.square().sum(1)),
    (config("focal"), (1 - PY) ** 2),
    (config("focal", exponent=1), 1 - PY),
    (config("threshold_p"), PY > 0.1),
    (config("threshold_p", threshold=0.5), PY > 0.5),
    (config("external"), EXTERNAL),
]
IDS = [f"{one.type}-{number}" for number, (one, _) in enumerate(REFERENCES)]
every_weighting = pytest.mark.parametrize(("chosen", "reference"), REFERENCES, ids=IDS)


def stats_of(logits, labels=LABELS):
    return token_stats(logits, labels, top_k_entropy=20)


def arguments(chosen, stats):
    """What a caller hands over beside the statistics."""
    cut = exact_thresholds(chosen, stats.entropy, stats.valid, p=stats.p) if chosen.needs_thresholds else None
    return {"thresholds": cut, "external": EXTERNAL if chosen.type == "external" else None}


def weights_of(chosen, logits=LOGITS, labels=LABELS):
    stats = stats_of(logits, labels)
    return weight_tokens(chosen, stats, **arguments(chosen, stats))


def test_every_type_is_tried():
    assert {one.type for one, _ in REFERENCES} == set(KINDS)


# ── the formulas ────────────────────────────────────────────────────────────────────────────────────────────────────


@every_weighting
def test_the_weights_are_the_formula(chosen, reference):
    assert torch.allclose(weights_of(chosen), reference.double(), rtol=1e-9, atol=1e-12)


@every_weighting
def test_float32_logits_give_float32_weights_close_to_the_formula(chosen, reference):
    weights = weights_of(chosen, LOGITS.float())
    assert weights.dtype == torch.float32
    assert torch.allclose(weights.double(), reference.double(), rtol=1e-4, atol=1e-5)


@every_weighting
def test_weights_of_chunks_are_the_weights_of_the_whole(chosen, reference):
    stats = stats_of(LOGITS)
    given = arguments(chosen, stats)
    for rows in (slice(0, 7), slice(7, 30), slice(30, N)):
        cut = given["thresholds"] and given["thresholds"].rows(rows)
        external = None if given["external"] is None else given["external"][rows]
        part = weight_tokens(chosen, stats.rows(rows), thresholds=cut, external=external)
        assert torch.equal(part, weights_of(chosen)[rows])


@every_weighting
def test_ignored_tokens_weigh_nothing_and_change_nothing(chosen, reference):
    labels = LABELS.clone()
    labels[::3] = -100
    weights = weights_of(chosen, LOGITS, labels)
    assert not weights[::3].any()
    if not chosen.needs_thresholds:
        assert torch.equal(weights[1::3], weights_of(chosen)[1::3])
    other = LOGITS.clone()
    other[::3] = 100 * torch.randn(len(other[::3]), VOCAB, dtype=torch.float64)
    assert torch.equal(weights, weights_of(chosen, other, labels))


@every_weighting
def test_no_weight_is_below_zero(chosen, reference):
    for scale in (1e-6, 1.0, 1e3):
        assert weights_of(chosen, LOGITS * scale).min() >= 0


def test_exponential_centres_on_the_running_mean():
    mean = torch.tensor(2.0)
    weights = weight_tokens(config("exponential"), stats_of(LOGITS), thresholds=Thresholds(mean_entropy=mean))
    assert torch.allclose(weights, (HN - 2.0 / math.log(VOCAB)).exp())


def test_a_threshold_a_token_cuts_each_by_its_own():
    cut = Thresholds(high_entropy=torch.where(torch.arange(N) < 20, 0.0, torch.inf))
    weights = weight_tokens(config("top_quantile", scope="sequence"), stats_of(LOGITS), thresholds=cut)
    assert weights.tolist() == [1] * 20 + [0] * 20


def test_the_two_shipped_eaft_losses_differ_by_three():
    axolotl, llama_factory = (config("linear", eaft_compat=name) for name in ("axolotl", "llama_factory"))
    assert torch.allclose(weights_of(axolotl), 3 * weights_of(llama_factory))
    assert weights_of(axolotl).max() > 2  # not a weight in [0, 1]: up to ln 20


@pytest.mark.parametrize(("name", "divisor"), [("axolotl", 1.0), ("llama_factory", 3.0)])
def test_eaft_compat_gives_the_loss_that_the_library_gives(name, divisor):
    """The library's own way, on full logits: topk(20), softmax, entropy, power, mean over the tokens of the step."""
    logits = LOGITS.float()
    best = logits.topk(20).values
    probs = best.softmax(-1)
    weight = (-(probs * (probs + 1e-10).log()).sum(-1) / divisor) ** 1.5
    theirs = (torch.nn.functional.cross_entropy(logits, LABELS, reduction="none") * weight).sum() / 64
    ours = weighted_nll(config("linear", eaft_compat=name, power=1.5), stats_of(logits), 64)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_what_is_needed_and_not_there_is_told():
    plain = token_stats(LOGITS, LABELS)
    with pytest.raises(ValueError, match="top_k_entropy=20"):
        weight_tokens(config("linear", eaft_compat="axolotl"), plain)
    with pytest.raises(ValueError, match="Selector"):
        weight_tokens(config("top_quantile"), plain)
    with pytest.raises(ValueError, match="needs `external`"):
        weight_tokens(config("external"), plain)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        weight_tokens(config("external"), plain, external=torch.ones(3))


# ── gradients ───────────────────────────────────────────────────────────────────────────────────────────────────────


@every_weighting
def test_no_gradient_flows_through_detached_weights(chosen, reference):
    logits = LOGITS.clone().requires_grad_()
    assert not weights_of(chosen, logits).requires_grad
    stats = stats_of(logits)
    loss = weighted_nll(chosen, stats, **arguments(chosen, stats))
    (grad,) = torch.autograd.grad(loss, logits)
    factor = normalizer(chosen, weights_of(chosen))
    expected = weights_of(chosen)[:, None] * (P - torch.nn.functional.one_hot(LABELS, VOCAB)) * factor
    assert torch.allclose(grad, expected, atol=1e-12)


SLOPED = [
    config("linear"),
    config("linear", power=2, floor=0),
    config("exponential"),
    config("sigmoid", sharpness=4),
    config("dft"),
    config("dft", exponent=0.5),
    config("deft"),
    config("focal"),
    config("focal", exponent=1),
]


@pytest.mark.parametrize("chosen", SLOPED, ids=lambda one: f"{one.type}-{one.power or one.exponent}")
def test_gradients_through_weights_are_exact(chosen):
    chosen = chosen.model_copy(update={"detach": False, "normalize": "none"})
    logits = LOGITS[::4, :9].clone().requires_grad_()
    labels = LABELS[::4] % 9
    assert torch.autograd.gradcheck(lambda z: weighted_nll(chosen, token_stats(z, labels)), logits)


def test_the_gradient_through_a_linear_weight_is_the_one_on_paper():
    chosen = config("linear", power=1, floor=0, detach=False, normalize="none")
    logits = LOGITS.clone().requires_grad_()
    (grad,) = torch.autograd.grad(weighted_nll(chosen, stats_of(logits), 1), logits)
    centred = LOGITS - (P * LOGITS).sum(1, keepdim=True)
    slope = (NLL / math.log(VOCAB))[:, None]
    label = torch.nn.functional.one_hot(LABELS, VOCAB)
    assert torch.allclose(grad, P * (HN[:, None] - slope * centred) - HN[:, None] * label)


def test_detached_dft_has_the_gradient_of_minus_p():
    logits = LOGITS.clone().requires_grad_()
    (ours,) = torch.autograd.grad(weighted_nll(config("dft", normalize="none"), stats_of(logits), 1), logits)
    (theirs,) = torch.autograd.grad(-logits.softmax(1).gather(1, LABELS[:, None]).sum(), logits)
    assert torch.allclose(ours, theirs)


def test_the_normaliser_is_a_constant_also_when_weights_are_not_detached():
    logits = LOGITS.clone().requires_grad_()
    weights = weight_tokens(config("linear", detach=False), stats_of(logits))
    assert weights.requires_grad
    assert not normalizer(config("linear", detach=False), weights).requires_grad


# ── normalisation ───────────────────────────────────────────────────────────────────────────────────────────────────


def loss_of(chosen, logits=LOGITS, labels=LABELS, denom=None):
    stats = stats_of(logits, labels)
    return weighted_nll(chosen, stats, denom, **arguments(chosen, stats)).item()


def test_without_weighting_the_loss_is_cross_entropy():
    assert loss_of(config("none")) == pytest.approx(torch.nn.functional.cross_entropy(LOGITS, LABELS).item())


def test_a_floor_of_one_is_the_plain_loss_to_the_last_bit():
    for logits in (LOGITS, LOGITS.float()):
        assert loss_of(config("linear", floor=1), logits) == loss_of(config("none"), logits)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.gives == "graded"])
def test_graded_weights_have_mean_one(name):
    weights = weights_of(config(name))
    normal = weights * normalizer(config(name), weights, 1)
    assert normal.mean().item() == pytest.approx(1)
    assert loss_of(config(name)) == pytest.approx(((weights / weights.mean()) * NLL).mean().item())


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.gives == "mask"])
def test_the_loss_of_a_mask_is_the_mean_over_the_selected_tokens(name):
    keep = weights_of(config(name)).bool()
    assert 0 < keep.sum() < N
    assert loss_of(config(name)) == pytest.approx(NLL[keep].mean().item())
    assert loss_of(config(name, normalize="mean1")) == pytest.approx(loss_of(config(name)))
    assert loss_of(config(name, normalize="none")) == pytest.approx(NLL[keep].sum().item() / N)


def test_the_top_fifth_is_not_trained_with_a_fifth_of_the_gradient():
    """Masking and dividing by all tokens, as TRL and ms-swift do, scales the loss by the share."""
    by_all, by_selected = (loss_of(config("top_quantile", normalize=how)) for how in ("none", "selected"))
    assert by_all == pytest.approx(0.2 * by_selected)


def test_the_scale_multiplies_the_loss():
    for name in ("none", "linear", "top_quantile"):
        assert loss_of(config(name, scale=2.5)) == pytest.approx(2.5 * loss_of(config(name)))


def test_two_forward_passes_of_a_step_add_up_and_are_not_divided_by_their_number():
    halves = [(LOGITS[rows], LABELS[rows]) for rows in (slice(0, 10), slice(10, N))]
    for name in ("none", "linear"):
        chosen = config(name, normalize="none")
        assert sum(loss_of(chosen, *half, denom=N) for half in halves) == pytest.approx(loss_of(chosen))
    means = [loss_of(config("top_quantile"), *half) for half in halves]
    together = sum(loss_of(config("top_quantile"), *half, denom=N) for half in halves)
    assert together == pytest.approx((10 * means[0] + 30 * means[1]) / N)


def test_the_global_batch_counts_the_selected_tokens_of_the_whole_step():
    chosen = config("top_quantile", scope="global_batch")
    halves = [stats_of(LOGITS[rows], LABELS[rows]) for rows in (slice(0, 10), slice(10, N))]
    selector = Selector(chosen)
    for half in halves:
        selector.observe(half.entropy, half.valid)
    cut = selector.current()
    together = sum(weighted_nll(chosen, half, N, thresholds=cut).item() for half in halves)
    assert together == pytest.approx(NLL[cut.high_entropy <= H].mean().item())


def test_the_denominator_may_be_a_tensor_and_is_at_least_one():
    for denom in (8, 8.0, torch.tensor(8), torch.tensor(8.0)):
        assert loss_of(config("linear"), denom=denom) == pytest.approx(loss_of(config("linear")) * N / 8)
    assert loss_of(config("none"), denom=0) == pytest.approx(NLL.sum().item())


def test_weights_that_are_all_zero_give_a_loss_of_zero():
    certain = torch.full((5, VOCAB), -1e3).index_fill(1, torch.tensor(2), 0.0)
    wrong = torch.full((5,), 3)
    assert loss_of(config("linear", floor=0), certain, wrong) == 0
    assert loss_of(config("threshold_p"), certain, wrong) == 0
    assert loss_of(config("top_quantile", threshold=1), certain, wrong) == 0


# ── odd batches ─────────────────────────────────────────────────────────────────────────────────────────────────────


@every_weighting
@pytest.mark.parametrize("num_rows", [0, N])
def test_a_batch_without_trained_tokens_gives_zero_loss_and_zero_gradient(chosen, reference, num_rows):
    logits = LOGITS[:num_rows].clone().requires_grad_()
    stats = stats_of(logits, torch.full((num_rows,), -100))
    external = torch.ones(num_rows) if chosen.type == "external" else None
    for denom in (None, 0, 17):
        loss = weighted_nll(chosen, stats, denom, external=external)
        assert loss.item() == 0
    (grad,) = torch.autograd.grad(loss, logits)
    assert not grad.any()


@every_weighting
def test_one_nan_row_makes_the_loss_nan(chosen, reference):
    logits = LOGITS.clone()
    logits[5, 3] = torch.nan
    stats = stats_of(logits)
    loss = weighted_nll(chosen, stats, **arguments(chosen, stats))
    assert loss.isnan()
    if chosen.type not in ("none", "external"):
        assert weight_tokens(chosen, stats, **arguments(chosen, stats))[5].isnan()


@every_weighting
@pytest.mark.parametrize("offset", [1e3, 1e4, -1e4])
def test_weights_do_not_depend_on_the_offset_of_the_logits(chosen, reference, offset):
    logits = (LOGITS * 8).round() / 8  # so that adding the offset rounds nothing off
    there, here = weights_of(chosen, (logits + offset).float()), weights_of(chosen, logits.float())
    assert torch.allclose(there, here)


@every_weighting
def test_masked_words_leave_loss_and_gradient_finite(chosen, reference):
    logits = torch.cat([LOGITS, torch.full((N, 4), -torch.inf)], 1).requires_grad_()
    chosen = chosen.model_copy(update={"detach": chosen.type not in ("linear", "dft", "deft") or chosen.power == 0.5})
    stats = stats_of(logits)
    loss = weighted_nll(chosen, stats, **arguments(chosen, stats))
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert grad.isfinite().all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_statistics_give_finite_weights_of_mean_one(data):
    n = data.draw(st.integers(1, 20))
    columns = [data.draw(st.lists(st.floats(low, high), min_size=n, max_size=n)) for low, high in RANGES]
    nll, entropy, sum_sq = (torch.tensor(column) for column in columns)
    stats = TokenStats(nll, entropy, sum_sq, nll < 0.7, 50_000)
    name = data.draw(st.sampled_from(["linear", "exponential", "sigmoid", "dft", "deft", "focal"]))
    weights = weight_tokens(config(name), stats)
    assert weights.isfinite().all()
    assert weights.min() >= 0
    mean = (weights * normalizer(config(name), weights, 1)).mean().item()
    assert mean == pytest.approx(1, rel=1e-4) or weights.sum() < 1e-28


RANGES = [(0.0, 90.0), (0.0, 10.8), (1e-6, 1.0)]
