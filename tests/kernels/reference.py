"""What `fused_linear_ce` must give: plain autograd on full logits in float64, written out formula by formula."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunewright.kernels.linear_ce import LinearCE, fused_linear_ce
from tunewright.losses.entropy import TokenStats, token_entropy
from tunewright.losses.selection import exact_thresholds
from tunewright.losses.weighting import normalizer, weight_tokens
from tunewright.recipe.sections import EntropyConfig

PLAIN = EntropyConfig(type="none")


@dataclass
class Problem:
    """A head and its rows, all leaves."""

    hidden: Tensor
    weight: Tensor
    labels: Tensor
    bias: Tensor | None = None

    def copy(self, dtype=None):
        """The same numbers as new leaves, in another type if one is given."""
        leaves = (self.hidden, self.weight, self.bias)
        hidden, weight, bias = (t if t is None else t.detach().to(dtype or t.dtype).requires_grad_() for t in leaves)
        return Problem(hidden, weight, self.labels, bias)

    def grads(self):
        """dX, dW and, where there is one, the bias's gradient."""
        return [t.grad for t in (self.hidden, self.weight, self.bias) if t is not None]

    def fused(self, **options) -> LinearCE:
        return fused_linear_ce(self.hidden, self.weight, self.labels, bias=self.bias, **options)


def problem(num_rows=70, hidden=24, vocab=101, *, bias=False, ignored=(), dtype=torch.float64, spread=0.6, seed=0):
    """A random head whose logits have a standard deviation of `spread * sqrt(hidden)`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    labels = torch.randint(0, vocab, (num_rows,), generator=generator)
    labels[list(ignored)] = -100
    made = Problem(normal(num_rows, hidden), normal(vocab, hidden) * spread, labels, normal(vocab) if bias else None)
    return made.copy()


def full(p: Problem, *, softcap=None, logit_scale=1.0, temperature=1.0) -> Tensor:
    """All logits after scale, softcap and temperature, of the rows that count."""
    z = torch.nn.functional.linear(p.hidden, p.weight, p.bias).double()[p.labels != -100] * logit_scale
    return (z if softcap is None else softcap * torch.tanh(z / softcap)) / temperature


def columns(logits_nV: Tensor, labels_n: Tensor) -> TokenStats:
    """nll, entropy, sum p^2 and top-1, as the textbook has them."""
    log_p = logits_nV.log_softmax(-1)
    nll = -log_p.gather(1, labels_n[:, None]).squeeze(1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    top20 = token_entropy(logits_nV.topk(min(20, logits_nV.shape[1])).values)
    correct = logits_nV.argmax(-1) == labels_n
    return TokenStats(nll, entropy, log_p.exp().square().sum(-1), correct, logits_nV.shape[1], top20)


def reference(
    p: Problem,
    *,
    weighting=PLAIN,
    label_smoothing=0.0,
    z_loss=0.0,
    reduction="mean",
    denom=None,
    token_weights=None,
    external=None,
    **transform,
):
    """Return (loss, columns of the rows that count, their weights), differentiable."""
    counts = p.labels != -100
    logits = full(p, **transform)
    stats = columns(logits, p.labels[counts])
    loss_n = (1 - label_smoothing) * stats.nll - label_smoothing * logits.log_softmax(-1).mean(-1)
    loss_n = loss_n + z_loss * logits.logsumexp(-1).square()
    thresholds = None
    if weighting.needs_thresholds:
        thresholds = exact_thresholds(weighting, stats.entropy.detach(), p=stats.p.detach())
    given = None if external is None else external[counts]
    raw = weight_tokens(weighting, stats, thresholds=thresholds, external=given)
    weight = raw if token_weights is None else raw * token_weights[counts]
    factor = normalizer(weighting, raw, denom if reduction == "mean" else 1.0, thresholds=thresholds)
    each = weight * loss_n * factor
    return each if reduction == "none" else each.sum(), stats, weight
