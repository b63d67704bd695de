"""The fused head against float64 autograd on full logits, for every weighting, option, shape and plan."""

import itertools

import pytest
import torch
from tests.kernels.reference import Problem, problem, reference
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tunewright.kernels.head import resolve_dtype
from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.losses.selection import Selector, Thresholds
from tunewright.models.precision import cpu_has_bfloat16
from tunewright.recipe.sections import EntropyConfig

GRADED = ("linear", "exponential", "sigmoid", "dft", "deft", "focal")
MASKS = ("top_quantile", "drop_top_quantile", "conflict_mask", "threshold_p")
WEIGHTINGS = {
    "none": EntropyConfig(type="none"),
    **{name: EntropyConfig(type=name) for name in (*GRADED, *MASKS)},
    **{f"{name}, attached": EntropyConfig(type=name, detach=False) for name in GRADED},
    "linear, raw": EntropyConfig(type="linear", power=2.0, floor=0.0, normalize="none", scale=3.0),
    "top, fixed": EntropyConfig(type="top_quantile", threshold=2.0),
    "axolotl": EntropyConfig(type="linear", eaft_compat="axolotl"),
    "llama_factory": EntropyConfig(type="linear", eaft_compat="llama_factory", power=2.0),
    "external": EntropyConfig(type="external"),
}
OPTIONS = {
    "plain": {},
    "softcap": {"softcap": 3.0},
    "temperature": {"temperature": 0.6},
    "logit_scale": {"logit_scale": 0.3},
    "smoothing": {"label_smoothing": 0.1},
    "z_loss": {"z_loss": 1e-2},
    "denom": {"denom": 37.0},
    "all": {"softcap": 5.0, "temperature": 1.4, "logit_scale": 1.2, "label_smoothing": 0.05, "z_loss": 1e-3},
}
SHAPES = {
    "ignored rows": {"ignored": (0, 1, 5, 69)},
    "all ignored": {"ignored": range(70)},
    "whole chunks": {"num_rows": 64},
    "short last chunk": {"num_rows": 70},
    "less than a chunk": {"num_rows": 9},
    "one row": {"num_rows": 1},
    "SmolLM2's width": {"num_rows": 33, "hidden": 576, "spread": 0.1, "bias": True},
    "bias": {"bias": True, "ignored": (3,), "vocab": 102},
}
CHUNK = 16 * 101 * 8  # bytes: 16 rows of float64
PAIRS = list(itertools.product(WEIGHTINGS, OPTIONS))


def given(name, num_rows):
    """What a weighting is handed over beside its config."""
    return {"external": torch.linspace(0, 2, num_rows).double()} if name == "external" else {}


def assert_same_gradients(found: Problem, expected: Problem, **tolerance):
    for got, wanted in zip(found.grads(), expected.grads(), strict=True):
        wanted = torch.zeros_like(got).double() if wanted is None else wanted  # where no row counts
        torch.testing.assert_close(got.double(), wanted, **tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("plan", ["forward", "recompute"])
def test_loss_entropy_weights_and_gradients_are_those_of_float64_autograd(shape, plan):
    """Every weighting with every option; the shape that a pair of them meets moves on with each."""
    position = list(SHAPES).index(shape)
    for number, (name, option) in enumerate(PAIRS):
        if (number + number // len(OPTIONS)) % len(SHAPES) != position:
            continue
        expected = problem(**SHAPES[shape], seed=number)
        found, config, options = expected.copy(), WEIGHTINGS[name], OPTIONS[option]
        extra = given(name, len(expected.labels))
        loss, stats, weight = reference(expected, weighting=config, **options, **extra)
        out = found.fused(
            weighting=config, **options, **extra, chunk_bytes=CHUNK, differentiable_entropy=plan == "recompute"
        )
        loss.backward()
        out.loss.backward()
        where = f"{name}, {option}, {out.plan}"
        assert out.plan == ("P3" if plan == "recompute" else "P2" if config.needs_thresholds else "P1"), where
        torch.testing.assert_close(out.loss, loss, msg=lambda text, where=where: f"{where}: {text}")
        counts = expected.labels != -100
        for got, wanted in ((out.nll, stats.nll), (out.entropy, stats.entropy), (out.weight, weight)):
            torch.testing.assert_close(got[counts], wanted, msg=lambda text, where=where: f"{where}: {text}")
            assert not got[~counts].any(), where
        assert torch.equal(out.correct[counts], stats.correct), where
        assert_same_gradients(found, expected, rtol=1e-9, atol=1e-12, msg=lambda text, where=where: f"{where}: {text}")


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_float32_stays_within_rounding_of_float64(name):
    expected = problem(ignored=(2, 3), bias=True, seed=5)
    found, config = expected.copy(torch.float32), WEIGHTINGS[name]
    extra = given(name, len(expected.labels))
    out = found.fused(weighting=config, **extra, chunk_bytes=CHUNK, softcap=8.0)
    reference(expected, weighting=config, **extra, softcap=8.0)[0].backward()
    out.loss.backward()
    assert out.loss.dtype == out.entropy.dtype == torch.float32
    assert_same_gradients(found, expected, rtol=1e-4, atol=1e-6)


def in_bfloat16(name, **options):
    """Run a head of SmolLM2's width in bfloat16 and float64; return errors of entropy and, relative, of dX and dW."""
    found = problem(120, 576, 4096, spread=1.6 / 24, dtype=torch.bfloat16, seed=3)  # logits of standard deviation 1.6
    expected = found.copy(torch.float64)
    loss, stats, _ = reference(expected, weighting=WEIGHTINGS[name])
    loss.backward()
    out = found.fused(weighting=WEIGHTINGS[name], compute_dtype=torch.bfloat16, backend="eager", **options)
    out.loss.backward()
    assert out.entropy.dtype == torch.float32 and found.weight.grad.dtype == torch.bfloat16
    gradients = zip(found.grads(), expected.grads(), strict=True)
    worst = max(float((got - wanted).norm() / wanted.norm()) for got, wanted in gradients)
    return float((out.entropy - stats.entropy).abs().max().detach()), worst


@pytest.mark.parametrize("name", ["none", "linear", "sigmoid", "focal", "deft", "axolotl"])
def test_bfloat16_stays_within_the_budget(name):
    """dX and dW within 3e-3 of float64, entropy within 0.02 nats; autograd in bfloat16 is 3.8e-3 off for `none`."""
    entropy, gradient = in_bfloat16(name)
    assert entropy < 2e-2 and gradient < 3e-3


@pytest.mark.parametrize("name", ["dft", "dft, attached", "exponential, attached"])
def test_steep_weights_pass_on_what_bfloat16_does_to_the_logits(name):
    """0.01 nats are 1% of p, whoever multiplies: autograd in bfloat16 is 7e-3 off for `dft`."""
    assert in_bfloat16(name)[1] < 1e-2


# ── gradcheck ───────────────────────────────────────────────────────────────────────────────────────────────────────

TINY = {"num_rows": 7, "hidden": 3, "vocab": 6, "bias": True, "ignored": (0, 4)}
ATTACHED = [EntropyConfig(type=name, detach=False, normalize="none") for name in GRADED]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("config", [None, *ATTACHED], ids=lambda config: config.type if config else "none")
def test_gradcheck_of_the_gradient_formed_in_the_forward_pass(config, options):
    p = problem(**TINY, spread=1.0)

    def loss(hidden, weight, bias):
        out = fused_linear_ce(hidden, weight, p.labels, bias=bias, weighting=config, chunk_bytes=2 * 6 * 8, **options)
        assert out.plan == "P1"
        return out.loss

    assert torch.autograd.gradcheck(loss, (p.hidden, p.weight, p.bias))


@pytest.mark.parametrize("config", [None, *ATTACHED], ids=lambda config: config.type if config else "none")
def test_gradcheck_of_recomputation_for_loss_nll_and_entropy_of_each_row(config):
    p = problem(**TINY, spread=1.0)

    def outputs(hidden, weight, bias):
        out = fused_linear_ce(
            hidden, weight, p.labels, bias=bias, weighting=config, reduction="none", chunk_bytes=96, **OPTIONS["all"]
        )
        assert out.plan == "P3"
        return out.loss, out.nll, out.entropy

    assert torch.autograd.gradcheck(outputs, (p.hidden, p.weight, p.bias))


# ── invariances ─────────────────────────────────────────────────────────────────────────────────────────────────────


def results(p: Problem, **options):
    p = p.copy()
    out = p.fused(**options)
    (out.loss.sum() if out.loss.dim() else out.loss).backward()
    return out, [out.loss.detach().sum(), out.nll, out.entropy, out.weight, *p.grads()]


def assert_close(found, expected, **tolerance):
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, **tolerance)


@pytest.mark.parametrize("name", ["linear", "top_quantile", "deft, attached"])
@pytest.mark.parametrize("chunk_rows", [1, 3, 64, 128, 1000])
def test_the_size_of_the_chunks_changes_nothing(name, chunk_rows):
    p, config = problem(150, ignored=(7, 8)), WEIGHTINGS[name]
    expected = results(p, weighting=config)[1]
    assert_close(results(p, weighting=config, chunk_bytes=chunk_rows * 101 * 8)[1], expected)


@pytest.mark.parametrize("name", ["linear", "top_quantile", "focal, attached"])
def test_the_order_of_the_rows_changes_nothing_but_the_order(name):
    p, config = problem(80, ignored=(0, 70)), WEIGHTINGS[name]
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    moved = Problem(p.hidden[order], p.weight, p.labels[order]).copy()
    _, (loss, nll, entropy, weight, dX, dW) = results(p, weighting=config, chunk_bytes=CHUNK)
    found = results(moved, weighting=config, chunk_bytes=CHUNK)[1]
    assert_close(found, [loss, nll[order], entropy[order], weight[order], dX[order], dW])


def test_ignored_rows_are_as_good_as_rows_that_are_not_there():
    p = problem(80, ignored=range(0, 80, 3))
    counts = p.labels != -100
    fewer = Problem(p.hidden[counts], p.weight, p.labels[counts]).copy()
    _, (loss, nll, entropy, _, dX, dW) = results(p, weighting=WEIGHTINGS["linear"])
    found = results(fewer, weighting=WEIGHTINGS["linear"])[1]
    del found[3]
    assert_close(found, [loss, nll[counts], entropy[counts], dX[counts], dW])
    assert not dX[~counts].any()


@pytest.mark.parametrize("name", ["none", "linear", "dft", "top, fixed", "sigmoid, attached"])
def test_the_gradient_formed_later_is_the_gradient_formed_now(name):
    p, config = problem(90, ignored=(4,), bias=True), WEIGHTINGS[name]
    now, expected = results(p, weighting=config, chunk_bytes=CHUNK)
    later, found = results(p, weighting=config, chunk_bytes=CHUNK, differentiable_entropy=True)
    assert (now.plan, later.plan) == ("P1", "P3")
    assert_close(found, expected)


def test_two_passes_that_select_every_row_give_what_one_pass_gives():
    p = problem(90, ignored=(4,), bias=True)
    no_conflict = EntropyConfig(type="conflict_mask", quantile=1e-3)
    one, expected = results(p, chunk_bytes=CHUNK)
    two, found = results(p, weighting=no_conflict, chunk_bytes=CHUNK)
    assert (one.plan, two.plan, int(two.weight.sum())) == ("P1", "P2", 89)
    assert_close(found, expected)


@pytest.mark.parametrize("name", ["top_quantile", "drop_top_quantile", "conflict_mask"])
def test_thresholds_known_before_need_one_pass_and_give_what_two_give(name):
    p, config = problem(90, ignored=(4,)), WEIGHTINGS[name]
    two, expected = results(p, weighting=config, chunk_bytes=CHUNK)
    one, found = results(p, weighting=config, thresholds=two.thresholds, chunk_bytes=CHUNK)
    assert (one.plan, two.plan) == ("P1", "P2") and 0 < two.weight.sum() < 89
    assert_close(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"weighting": EntropyConfig(type="none")},
        {"weighting": EntropyConfig(type="external"), "external": torch.ones(90)},
        {"weighting": EntropyConfig(type="linear", floor=1.0)},
        {"weighting": EntropyConfig(type="top_quantile", threshold=0.0)},
        {"token_weights": torch.ones(90)},
    ],
    ids=["none", "external ones", "linear floor 1", "every row", "token weights 1"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weight_one_gives_the_bits_of_the_plain_loss(options, dtype):
    p = problem(90, ignored=(4, 5), bias=True, dtype=dtype)
    same = {"chunk_bytes": CHUNK, "compute_dtype": dtype, "denom": 41.0, "backend": "eager"}
    for found, expected in zip(results(p, **options, **same)[1], results(p, **same)[1], strict=True):
        assert torch.equal(found, expected)


# ── normalisation ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["none", "linear, raw", "external"])
def test_two_micro_batches_with_one_denom_are_one_batch(name):
    p, config = problem(100, ignored=range(10, 30)), WEIGHTINGS[name]
    extra = given(name, 100)
    _, expected = results(p, weighting=config, denom=80.0, **extra)
    parts = p.copy()
    total = torch.zeros((), dtype=torch.float64)
    for rows in (slice(0, 37), slice(37, 100)):
        part = {key: value[rows] for key, value in extra.items()}
        out = fused_linear_ce(
            parts.hidden[rows], parts.weight, parts.labels[rows], weighting=config, denom=torch.tensor(80), **part
        )
        out.loss.backward()
        total += out.loss.detach()
    assert_close([total, *parts.grads()], [expected[0], *expected[4:]])


def test_the_mean_of_each_row_is_the_mean_loss_and_their_sum_the_sum():
    p, config = problem(40, ignored=(3,)), WEIGHTINGS["linear"]
    mean, total = results(p, weighting=config)[0].loss, results(p, weighting=config, reduction="sum")[0].loss
    each = results(p, weighting=config, reduction="none")[0].loss
    assert each.shape == (40,) and each[3] == 0
    assert_close([each.sum(), mean * 39], [total, total])


def test_the_gradient_of_the_loss_is_scaled_once_by_what_comes_back():
    p = problem(40)
    (3 * p.fused().loss).backward()
    q = p.copy()
    q.fused().loss.backward()
    assert_close(p.grads(), [3 * grad for grad in q.grads()])


def test_a_kept_graph_can_be_walked_again_with_another_factor():
    p = problem(40)
    loss = p.fused().loss
    first = torch.autograd.grad(loss, (p.hidden, p.weight), torch.tensor(2.0).double(), retain_graph=True)
    second = torch.autograd.grad(loss, (p.hidden, p.weight), torch.tensor(-1.0).double())
    assert_close(first, [-2 * grad for grad in second])


def test_a_second_derivative_is_refused():
    p = problem(10)
    (grad,) = torch.autograd.grad(p.fused().loss, p.hidden, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        grad.sum().backward()


# ── what is not computed ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_frozen_head_gets_no_gradient_and_the_rows_get_theirs():
    p = problem(40, bias=True)
    expected = p.copy()
    p.weight.requires_grad_(False)
    p.fused(weighting=WEIGHTINGS["linear"]).loss.backward()
    expected.fused(weighting=WEIGHTINGS["linear"]).loss.backward()
    assert p.weight.grad is None
    assert_close([p.hidden.grad, p.bias.grad], [expected.hidden.grad, expected.bias.grad])


def test_evaluation_gives_the_same_numbers_and_no_history():
    p = problem(40, ignored=(1,))
    trained = p.fused(weighting=WEIGHTINGS["linear"], chunk_bytes=CHUNK)
    with torch.no_grad():
        out = p.fused(weighting=WEIGHTINGS["linear"], chunk_bytes=CHUNK)
    assert not out.loss.requires_grad and out.plan == "P1"
    for column in ("loss", "nll", "entropy", "weight"):
        torch.testing.assert_close(getattr(out, column), getattr(trained, column))


class LargestTensor(TorchDispatchMode):
    """Remembers how many numbers the largest tensor holds that any operation gives back."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
        return out


@pytest.mark.parametrize("name", ["linear", "top_quantile", "axolotl"])
@pytest.mark.parametrize("options", [{}, {"reduction": "none"}], ids=["now", "later"])
def test_the_logits_of_all_rows_are_never_there_at_once(name, options):
    p = problem(400, 8, 1003, dtype=torch.float32, bias=True)
    with LargestTensor() as largest:
        p.fused(weighting=WEIGHTINGS[name], chunk_bytes=64 * 1003 * 4, **options).loss.sum().backward()
    assert largest.numel <= 2 * 64 * 1003  # the two scratches of a block of eager rows; the chunk itself is one


def test_tied_embeddings_get_the_sum_of_both_gradients():
    embedding = (torch.randn(31, 8, dtype=torch.float64) * 0.5).requires_grad_()
    ids, labels = torch.arange(20) % 31, torch.arange(1, 21)
    fused_linear_ce(torch.nn.functional.embedding(ids, embedding), embedding, labels).loss.backward()
    twin = embedding.detach().clone().requires_grad_()
    logits = torch.nn.functional.embedding(ids, twin) @ twin.T
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(embedding.grad, twin.grad)


def test_autocast_decides_the_type_of_the_matmuls_and_changes_nothing_else():
    p = problem(40, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        chosen = p.fused(backend="eager")
        p.fused(compute_dtype=torch.bfloat16, backend="eager").loss.backward()
    assert chosen.entropy.dtype == p.hidden.grad.dtype == p.weight.grad.dtype == torch.float32
    torch.testing.assert_close(chosen.loss, p.fused().loss, rtol=2e-2, atol=0)


def test_bfloat16_runs_in_float32_where_the_cpu_only_emulates_it():
    p = problem(40, dtype=torch.bfloat16)
    out = p.fused(backend="eager")
    out.loss.backward()
    assert resolve_dtype(p.hidden) == (torch.bfloat16 if cpu_has_bfloat16() else torch.float32)
    assert p.weight.grad.dtype == p.hidden.grad.dtype == torch.bfloat16
    exact = reference(p.copy(torch.float64))[0]
    torch.testing.assert_close(out.loss.double(), exact, rtol=1e-2, atol=0)


def test_all_ignored_rows_give_zero_and_zero_gradients():
    for config in WEIGHTINGS.values():
        if config.type == "external":
            continue
        p = problem(12, ignored=range(12), bias=True)
        out = p.fused(weighting=config, denom=5.0)
        out.loss.backward()
        assert out.loss == 0 and not out.stats.valid.any()
        assert all(not grad.any() for grad in p.grads())


# ── thresholds ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sequence_thresholds_are_taken_inside_each_sequence():
    p = problem(60, ignored=(0, 30))
    config = EntropyConfig(type="top_quantile", quantile=0.25, scope="sequence")
    out = p.fused(weighting=config, sequence_ids=torch.arange(60) // 20)
    counts = p.labels != -100
    for sequence in range(3):
        rows = (torch.arange(60) // 20 == sequence) & counts
        cut = torch.quantile(out.entropy[rows], 0.75, interpolation="higher")
        assert torch.equal(out.weight[rows] > 0, out.entropy[rows] >= cut)


def test_a_lagging_selector_needs_one_pass_once_it_knows_a_step():
    p, config = problem(60), EntropyConfig(type="top_quantile", scope="ema")
    selector = Selector(config)
    first = p.fused(weighting=config, select=selector)
    selector.end_step()
    second = p.fused(weighting=config, select=selector)
    selector.end_step()
    assert (first.plan, second.plan) == ("P2", "P1")
    assert 0 < (second.weight > 0).double().mean() < 0.4
    assert second.thresholds.high_entropy > 0


def test_the_mean_of_exponential_comes_from_the_steps_before():
    p, config = problem(60), EntropyConfig(type="exponential")
    selector = Selector(config)
    first = p.fused(weighting=config, select=selector)
    selector.end_step()
    second = p.fused(weighting=config, select=selector)
    centre = (first.weight / second.weight).unique()
    assert first.plan == second.plan == "P1"
    assert centre.min() == pytest.approx(centre.max().item()) and centre.min() > 1


def test_thresholds_of_each_row_follow_their_rows():
    p, config = problem(50, ignored=(0, 1)), EntropyConfig(type="top_quantile")
    per_row = torch.where(torch.arange(50) % 2 == 0, 0.0, 100.0).double()
    out = p.fused(weighting=config, thresholds=Thresholds(high_entropy=per_row), chunk_bytes=CHUNK)
    expected = (torch.arange(50) % 2 == 0) & (p.labels != -100)
    assert torch.equal(out.weight > 0, expected)


# ── deterministic mode ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["linear", "top_quantile"])
def test_deterministic_mode_gives_the_same_bits_and_leaves_torch_as_it_was(name):
    p, config = problem(200, dtype=torch.float32, ignored=(5,)), WEIGHTINGS[name]
    one = results(p, weighting=config, deterministic=True, chunk_bytes=CHUNK)
    two = results(p, weighting=config, deterministic=True, chunk_bytes=CHUNK)
    assert not torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(first, second) for first, second in zip(one[1], two[1], strict=True))
    assert one[0].backend == "eager"


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

WRONG = {
    "flatten batch and time": {"hidden_NH": torch.randn(2, 3, 4)},
    r"weight is \[5, 3\]; expected \[V, 4\]": {"weight_VH": torch.randn(5, 3)},
    r"labels are \[3\]; expected \[6\]": {"labels_N": torch.zeros(3, dtype=torch.int64)},
    "labels.long": {"labels_N": torch.zeros(6, dtype=torch.int32)},
    "row 2 has label 5 .*expected 0 to 4": {"labels_N": torch.tensor([0, 1, 5, -100, 2, 3])},
    "row 0 has label -1 ": {"labels_N": torch.tensor([-1, 1, 2, -100, 2, 3])},
    r"bias is \[4\]": {"bias": torch.zeros(4)},
    r"token_weights is \[5\]; expected \[6\]": {"token_weights": torch.ones(5)},
    "denom is -1.0": {"denom": -1.0},
    "denom is nan": {"denom": torch.tensor(float("nan"))},
    "denom does nothing with reduction='sum'": {"denom": 3.0, "reduction": "sum"},
    "reduction is 'avg'": {"reduction": "avg"},
    "temperature is 0": {"temperature": 0.0},
    "softcap is -2": {"softcap": -2.0},
    "label_smoothing is 1": {"label_smoothing": 1.0},
    "z_loss is -1": {"z_loss": -1.0},
    "backend is 'cuda'": {"backend": "cuda"},
    "compiles nothing": {"backend": "compile", "deterministic": True},
    "external needs `external`": {"weighting": EntropyConfig(type="external")},
    "none does not use `external`": {"external": torch.ones(6)},
    "scope sequence needs `sequence_ids`": {"weighting": EntropyConfig(type="top_quantile", scope="sequence")},
    "scope ema looks at more than one call": {"weighting": EntropyConfig(type="top_quantile", scope="ema")},
    "scope global_batch looks": {"weighting": EntropyConfig(type="conflict_mask", scope="global_batch")},
    "select was made for": {"select": Selector(EntropyConfig(type="linear"))},
    "thresholds and select": {"thresholds": Thresholds(), "select": Selector(EntropyConfig(type="none"))},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_work_is_told_with_what_was_expected(message):
    right = {"hidden_NH": torch.randn(6, 4), "weight_VH": torch.randn(5, 4), "labels_N": torch.arange(6) % 5}
    with pytest.raises(ValueError, match=message):
        fused_linear_ce(**{**right, **WRONG[message]})
