"""The Triton kernels against the eager row functions in float64, run by Triton's interpreter in a process of its own.

Whether Triton interprets is settled when it is imported, so the kernels run in a child that starts with
TRITON_INTERPRET=1, and with blocks of 64 columns, so that short rows span several. The code for real GPUs is compiled
here too: that takes no GPU.
"""

import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from tunewright.errors import EnvironmentProblem
from tunewright.kernels import rows
from tunewright.kernels.rows import RAW, LogitTransform, RowCoefficients, RowStats, row_coefficients

triton = pytest.importorskip("triton", reason="Triton comes for Linux on x86_64 only")
from tunewright.kernels import triton_rows  # noqa: E402

COHERE = LogitTransform(logit_scale=0.0625, temperature=0.02)
GEMMA = LogitTransform(softcap=30.0)
ALL_THREE = LogitTransform(logit_scale=1.5, softcap=5.0, temperature=0.7)
TRANSFORMS = {"raw": RAW, "scaled": COHERE, "capped": GEMMA, "all": ALL_THREE}
BFLOAT16_STEP = 2**-7  # the interpreter cuts digits off where a GPU rounds: a whole step, not half of one


# Before anything of this module, and with it triton, is imported there: so it cannot be a function of this module.
INTERPRET = """
import os
os.environ.update(TRITON_INTERPRET="1", TUNEWRIGHT_TRITON_STATS="64x4", TUNEWRIGHT_TRITON_GRAD="64x4")
"""


BOTH_BACKENDS = """
import torch
from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.recipe.sections import EntropyConfig

PLANS = {
    "P1": dict(weighting=EntropyConfig(type="linear"), label_smoothing=0.1, z_loss=1e-3, softcap=10.0),
    "P2": dict(weighting=EntropyConfig(type="top_quantile", quantile=0.4), temperature=0.7),
    "P3": dict(weighting=EntropyConfig(type="deft", detach=False), reduction="none", logit_scale=0.5),
}

def run(backend, options):
    torch.manual_seed(0)
    hidden, weight, bias = (torch.randn(*shape).requires_grad_() for shape in [(7, 12), (101, 12), (101,)])
    labels = torch.tensor([3, -100, 100, 50, 0, 7, -100])
    out = fused_linear_ce(hidden, weight, labels, bias=bias, backend=backend, chunk_bytes=3 * 101 * 4, **options)
    out.loss.sum().backward()
    return out, [out.loss, out.nll, out.entropy, out.weight, hidden.grad, weight.grad, bias.grad]

for plan, options in PLANS.items():
    out, found = run("triton", options)
    assert (out.backend, out.plan) == ("triton", plan), (out.backend, out.plan)
    for got, expected in zip(found, run("eager", options)[1], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
"""


@pytest.fixture(scope="module")
def interpreter():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=exec, initargs=(INTERPRET,)) as pool:
        yield pool


@pytest.fixture
def row_stats(interpreter):
    return lambda *args, **options: interpreter.submit(triton_rows.row_stats, *args, **options).result()


@pytest.fixture
def row_grad_(interpreter):
    return lambda *args: interpreter.submit(triton_rows.row_grad_, *args).result()


def some_rows(vocab: int, dtype: torch.dtype = torch.float32, num_rows: int = 5):
    """Logits of which row 0 is right, row 1 ignored, row 2 peaked and row 3 flat; and labels."""
    torch.manual_seed(vocab)
    logits, labels = torch.randn(num_rows, vocab) * 3, torch.randint(0, vocab, (num_rows,))
    labels[0], labels[1] = logits[0].argmax(), -100
    logits[2, labels[2]] += 20
    logits[3] = 0.5
    return logits.to(dtype), labels


def exact(stats: RowStats) -> RowStats:
    return RowStats(*(None if column is None else column.double() for column in stats))


def assert_same_stats(got: RowStats, expected: RowStats, tolerance: float = 2e-6) -> None:
    for name, column, reference in zip(RowStats._fields, got, expected, strict=True):
        if reference is None:
            assert column is None
            continue
        assert column.dtype == torch.float32
        torch.testing.assert_close(
            column.double(), reference.double(), rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


def every_coefficient(stats: RowStats, vocab: int) -> dict[str, RowCoefficients]:
    num_rows = len(stats.max)
    scale, other = torch.linspace(0.1, 2, num_rows), torch.linspace(-1, 1, num_rows)
    return {
        "plain": row_coefficients(stats, vocab, loss_scale_N=scale),
        "smoothed": row_coefficients(stats, vocab, loss_scale_N=scale, label_smoothing=0.1),
        "z-loss": row_coefficients(stats, vocab, loss_scale_N=scale, z_loss=1e-3),
        "entropy": row_coefficients(stats, vocab, loss_scale_N=scale, entropy_scale_N=other),
        "collision": row_coefficients(stats, vocab, loss_scale_N=scale, collision_scale_N=other),
        "all": row_coefficients(
            stats,
            vocab,
            loss_scale_N=scale,
            nll_scale_N=other,
            entropy_scale_N=other,
            collision_scale_N=scale,
            label_smoothing=0.2,
            z_loss=1e-2,
        ),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("vocab", [1, 64, 193])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_statistics_are_those_of_float64(row_stats, transform, vocab, dtype):
    logits, labels = some_rows(vocab, dtype)
    got = row_stats(logits, labels, transform, with_shift=True)
    assert_same_stats(got, rows.row_stats(logits.double(), labels, transform, with_shift=True), 1e-5)


def test_without_label_smoothing_the_shift_is_not_summed(row_stats):
    assert row_stats(*some_rows(7)).shift is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("vocab", [1, 130])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_gradients_are_those_of_float64_for_every_option(row_grad_, transform, vocab, dtype):
    logits, labels = some_rows(vocab, dtype)
    stats = rows.row_stats(logits.double(), labels, transform)
    for name, coefficients in every_coefficient(stats, vocab).items():
        expected = rows.row_grad_(logits.double(), labels, stats.max, coefficients, transform)
        short = RowCoefficients(*(None if column is None else column.float() for column in coefficients))
        got = row_grad_(logits.clone(), labels, stats.max.float(), short, transform)
        assert got.dtype == dtype
        step = BFLOAT16_STEP if dtype == torch.bfloat16 else 2e-5
        cancelled = 2e-6 if transform.softcap is None else 2e-5  # z = 30 tanh is off by a few 1e-6, and so is p - 1
        torch.testing.assert_close(
            got.double(), expected, rtol=step, atol=cancelled, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_from_statistics_to_gradient_it_agrees_with_autograd(row_stats, row_grad_):
    logits, labels = some_rows(65)
    weights = torch.linspace(0.5, 2, len(labels)) * (labels >= 0)
    stats = row_stats(logits, labels, ALL_THREE)
    got = row_grad_(logits.clone(), labels, stats.max, row_coefficients(stats, 65, loss_scale_N=weights), ALL_THREE)
    reference = logits.double().requires_grad_()
    z = torch.tanh(reference * 1.5 / 5.0) * 5.0 / 0.7
    nll = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    (nll * weights).sum().backward()
    torch.testing.assert_close(got.double(), reference.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((stats.nll * (labels >= 0)).double(), nll.detach(), rtol=1e-5, atol=1e-6)


def test_where_all_labels_are_ignored_no_target_is_read_and_a_scale_of_zero_gives_zeros(row_stats, row_grad_):
    logits, labels = some_rows(33)
    labels.fill_(-100)
    stats = row_stats(logits, labels)
    assert torch.equal(stats.target, torch.zeros(5)) and torch.equal(stats.correct, torch.zeros(5))
    coefficients = row_coefficients(stats, 33, loss_scale_N=torch.zeros(5), label_smoothing=0.1, z_loss=1e-3)
    assert torch.equal(row_grad_(logits, labels, stats.max, coefficients), torch.zeros(5, 33))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e3, 1e4])
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_an_offset_of_all_logits_does_not_reach_the_entropy(row_stats, offset, spread):
    torch.manual_seed(0)
    logits = torch.randn(4, 999) * spread + offset
    stats = row_stats(logits, torch.zeros(4, dtype=torch.int64))
    reference = torch.distributions.Categorical(logits=logits.double()).entropy()
    assert stats.entropy.min() >= 0
    assert (stats.entropy.double() - reference).abs().max() < 1e-5


def test_the_first_of_equal_logits_counts_as_the_prediction(row_stats):
    logits = torch.zeros(3, 100)
    logits[:, [40, 41, 90]] = 1.0
    assert row_stats(logits, torch.tensor([40, 41, 90])).correct.tolist() == [1, 0, 0]


@pytest.mark.parametrize("lowest", [-math.inf, torch.finfo(torch.float32).min])
def test_masked_words_count_for_nothing_wherever_they_stand(row_stats, row_grad_, lowest):
    logits, labels = some_rows(130)
    masked = torch.zeros(5, 130, dtype=torch.bool)
    masked[0, :70] = masked[1, 60:] = masked[2, ::2] = masked[3, 1:] = True
    labels = torch.tensor([100, 3, 11, 0, 5])
    logits[masked] = lowest
    stats = row_stats(logits, labels)
    assert_same_stats(stats, rows.row_stats(logits.double(), labels))
    assert stats.entropy[3] == 0
    scale = torch.ones(5)
    grad = row_grad_(
        logits.clone(), labels, stats.max, row_coefficients(stats, 130, loss_scale_N=scale, entropy_scale_N=scale)
    )
    assert grad.isfinite().all() and torch.equal(grad[masked], torch.zeros(int(masked.sum())))


def test_a_row_without_any_word_and_a_row_with_a_nan_are_nan_and_the_others_are_not(row_stats, row_grad_):
    logits, labels = some_rows(70)
    logits[1], logits[3, 50] = -math.inf, math.nan
    stats = row_stats(logits, labels)
    broken = torch.tensor([False, True, False, True, False])
    for column in (stats.nll, stats.entropy, stats.collision):
        assert torch.equal(column.isnan(), broken)
    assert stats.max[1] == -math.inf  # a part of a vocabulary says so that it has no word; others have some
    assert stats.max[3].isnan()
    grad = row_grad_(logits, labels, stats.max, row_coefficients(stats, 70, loss_scale_N=torch.ones(5)))
    assert torch.equal(grad.isnan().all(1), broken) and torch.equal(grad.isnan().any(1), broken)


def test_in_bfloat16_a_probability_near_one_still_leaves_a_gradient_at_its_label(row_stats, row_grad_):
    logits, labels = torch.zeros(1, 40, dtype=torch.bfloat16), torch.tensor([35])
    logits[0, 35] = 12.0  # p_y = 1 - 2.4e-4, which is 1 in bfloat16
    stats = row_stats(logits, labels)
    grad = row_grad_(logits.clone(), labels, stats.max, row_coefficients(stats, 40, loss_scale_N=torch.ones(1)))
    exactly = -39 / (39 + math.exp(12))
    assert grad[0, 35].item() == pytest.approx(exactly, rel=BFLOAT16_STEP)
    assert grad.double().sum().item() == pytest.approx(0, abs=abs(exactly) * BFLOAT16_STEP)


def test_a_label_past_the_vocabulary_makes_the_loss_nan_and_reads_no_foreign_memory(row_stats):
    logits, labels = some_rows(9)
    labels[4] = 9
    assert row_stats(logits, labels).nll.isnan().tolist() == [False, False, False, False, True]


def test_rows_of_a_wider_buffer_are_changed_inside_their_columns_only(row_stats, row_grad_):
    logits, labels = some_rows(33)
    buffer = torch.full((5, 48), 7.0)
    buffer[:, 3:36] = logits
    stats = row_stats(buffer[:, 3:36], labels)
    assert_same_stats(stats, rows.row_stats(logits.double(), labels))
    coefficients = row_coefficients(stats, 33, loss_scale_N=torch.ones(5).expand(5))
    grad = row_grad_(buffer[:, 3:36], labels, stats.max, coefficients)
    expected = rows.row_grad_(logits.double(), labels, stats.max.double(), coefficients)
    torch.testing.assert_close(grad.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(buffer[:, 3:36], grad)  # tensors go to the child in shared memory: this is what it wrote to
    around = torch.cat([buffer[:, :3], buffer[:, 36:]], dim=1)
    assert torch.equal(around, torch.full((5, 15), 7.0))


def test_no_rows_are_no_work(row_stats, row_grad_):
    logits, labels = torch.empty(0, 9), torch.empty(0, dtype=torch.int64)
    stats = row_stats(logits, labels)
    assert stats.nll.shape == (0,)
    assert row_grad_(logits, labels, stats.max, row_coefficients(stats, 9, loss_scale_N=stats.max)).shape == (0, 9)


def test_float64_is_refused_with_the_way_out(row_stats):
    with pytest.raises(TypeError, match="eager"):
        row_stats(torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.int64))


def test_on_a_cpu_without_the_interpreter_it_says_what_to_do():
    with pytest.raises(EnvironmentProblem, match="TRITON_INTERPRET"):
        triton_rows.row_stats(*some_rows(9))


def test_through_the_door_every_plan_and_option_agrees_with_the_eager_backend(interpreter):
    interpreter.submit(exec, BOTH_BACKENDS, {}).result()


def test_the_block_follows_a_small_vocabulary_and_never_passes_the_table():
    assert triton_rows.launch_shape("stats", 151_936) == triton_rows.LAUNCH["stats"]
    assert triton_rows.launch_shape("grad", 100)[0] == 128


@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("kernel", ["stats", "grad"])
def test_the_kernels_compile_for_real_gpus_with_wide_loads_and_64_bit_rows(kernel, capability, tmp_path):
    compiled = compile_for(kernel, capability, tmp_path)
    assert "ld.global.v4.b32" in compiled.asm["ptx"]
    assert "arith.muli" in compiled.asm["ttir"] and "i64" in compiled.asm["ttir"].split("arith.muli", 1)[1]
    assert ".local" not in compiled.asm["ptx"]


def compile_for(kernel: str, capability: int, cache: os.PathLike):
    """Compile a kernel for bfloat16 logits as on the first call with a vocabulary divisible by 16."""
    function = {"stats": triton_rows._stats_kernel, "grad": triton_rows._grad_kernel}[kernel]
    block, num_warps = triton_rows.LAUNCH[kernel]
    types = {"logits": "*bf16", "labels": "*i64", "row_stride": "i32", "num_rows": "i32", "vocab": "i32"}
    types |= {"inner": "fp32", "outer": "fp32"}
    constants = {"PLAIN": False, "SOFTCAP": True, "SHIFT": True, "BLOCK": block}
    names = function.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in names}
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in ("logits", "row_stride", "vocab")}
    source = triton.compiler.ASTSource(
        function, signature, {name: value for name, value in constants.items() if name in names}, aligned
    )
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(cache)
        return triton.compile(source, target=target, options={"num_warps": num_warps})
