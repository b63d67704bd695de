"""How much each trained token counts: one formula a type of `weighting:`. The reference; any kernel calls this too.

H is the entropy of the prediction in nats, Hn = H / ln V in [0, 1], p the probability of the label, V the vocabulary.

    none               1
    linear             floor + (1 - floor) Hn^power                          EAFT, arXiv:2601.02151, with the exact H
      axolotl          H20^power        H20: entropy of the renormalised 20 likeliest words; as shipped, so up to 3
      llama_factory    (H20 / 3)^power  the same, 3^power smaller (ln 20 = 3.0)
    exponential        exp(sharpness (Hn - c)) inside clip                   c: running mean of Hn; 0 while unknown
    sigmoid            1 / (1 + exp(-sharpness (Hn - midpoint)))             EAFT, arXiv:2601.02151
    top_quantile       1[H >= tau]       tau: quantile, or `threshold`       "80/20", arXiv:2506.01939
    drop_top_quantile  1[H < tau]                                            EKSFT without KL, arXiv:2605.29303
    conflict_mask      0 if H <= tau_H and p <= tau_p, else 1                EAFT's pilot, arXiv:2601.02151
    dft                p^exponent                                            arXiv:2508.05629
    deft               p^(sum_v p_v^2)                                       arXiv:2602.11424
    focal              (1 - p)^exponent                                      arXiv:1708.02002
    threshold_p        1[p > threshold]                                      arXiv:2510.00526, arXiv:2601.09195
    external           the tensor that is handed over

By default no gradient flows through a weight: with w rising in H, minimising w(H) * nll would reward low H itself.
A NaN in the statistics stays a NaN in the weight, so that no mask can hide it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from tunewright.losses.entropy import TokenStats
from tunewright.losses.selection import Thresholds, exact_thresholds, kept
from tunewright.recipe.sections import EntropyConfig

LLAMA_FACTORY_SCALE = 3.0  # its divisor, which stands for ln 20
LEAST_MEAN = 1e-30  # weights of a smaller mean are all zero: their normaliser is 0, not 1 / 0


def weight_tokens(
    config: EntropyConfig,
    stats: TokenStats,
    *,
    thresholds: Thresholds | None = None,
    external: Tensor | None = None,
) -> Tensor:
    """Return the raw weight of each token, before `normalize` and `scale`. Pointwise: chunks give what the whole gives.

    Args:
        config: the weighting.
        stats: of the tokens; with `top20_entropy` for `eaft_compat`.
        thresholds: for types that cut at a quantile (`config.needs_thresholds`), and the mean for `exponential`.
        external: the weights of type `external`, shape of `stats.nll`.

    Returns:
        Shape and type of `stats.nll`, >= 0 (what `external` holds aside), 0 where `stats.valid` is False.
        Differentiable in the statistics unless `config.detach`.

    Raises:
        ValueError: thresholds, external weights or `top20_entropy` are needed and not there.
    """
    config = config.resolved()
    stats = stats.detach() if config.detach else stats
    if config.type == "external":
        weights = _external(external, stats)
    else:
        weights = FORMULAS[config.type](config, stats, thresholds or Thresholds())
    return weights if stats.valid is None else weights.masked_fill(~stats.valid, 0)


def normalizer(
    config: EntropyConfig,
    weights: Tensor,
    denom: Tensor | float | None = None,
    *,
    num_tokens: Tensor | int | None = None,
    thresholds: Thresholds | None = None,
) -> Tensor:
    """Return what the sum of weight * nll is multiplied by; a constant of the batch, no gradient flows through it.

        none      scale / denom
        mean1     scale * (num_tokens / sum of weights) / denom
        selected  scale * (num_tokens / number of weights that are not 0) / denom
                  where `thresholds.share` tells the share of a wider scope (global_batch, ema): scale / (share * denom)

    With `denom` left out, that is the mean over the tokens, the mean with weights of mean 1, and the mean over the
    selected tokens (Eq. 6 of arXiv:2506.01939). With `denom` the tokens of the whole optimizer step, the losses of its
    forward passes add up to the loss of the step; nothing is divided by the number of passes.

    Args:
        config: the weighting.
        weights: as `weight_tokens` gives them, of one forward pass.
        denom: tokens the loss is a mean over; default `num_tokens`. At least 1 is taken.
        num_tokens: trained tokens among `weights`; default: all of them.
        thresholds: for their `share`, with scopes that are wider than one forward pass.

    Returns:
        A scalar >= 0; 0 where all weights are.
    """
    config, weights = config.resolved(), weights.detach()
    tokens = torch.as_tensor(weights.numel() if num_tokens is None else num_tokens).to(weights)
    total = (tokens if denom is None else torch.as_tensor(denom).to(weights)).clamp(min=1)
    if config.normalize == "none":
        return config.scale / total
    share = thresholds.share if thresholds and config.scope in ("global_batch", "ema") else None
    if config.normalize == "selected" and share is not None:
        return _ratio(weights.new_ones(()), share.to(weights)) * config.scale / total
    weight = weights.sum() if config.normalize == "mean1" else (weights != 0).sum().to(weights)
    return _ratio(tokens, weight) * config.scale / total


def weighted_nll(
    config: EntropyConfig,
    stats: TokenStats,
    denom: Tensor | float | None = None,
    *,
    thresholds: Thresholds | None = None,
    external: Tensor | None = None,
) -> Tensor:
    """Return the loss: sum of weight * nll, times `normalizer`. 0 for a batch without trained tokens.

    Args:
        config: the weighting.
        stats: of the tokens of one forward pass.
        denom: as for `normalizer`.
        thresholds: of `Selector`; left out, a quantile is taken of these tokens, exactly.
        external: as for `weight_tokens`.
    """
    if config.needs_thresholds and thresholds is None:
        thresholds = exact_thresholds(config, stats.entropy, stats.valid, p=stats.p)
    weights = weight_tokens(config, stats, thresholds=thresholds, external=external)
    factor = normalizer(config, weights, denom, num_tokens=stats.num_tokens, thresholds=thresholds)
    return (weights * stats.nll).sum() * factor


def _ratio(tokens: Tensor, weight: Tensor) -> Tensor:
    """Return tokens / weight, and 0 where there is no weight; a NaN stays."""
    return torch.where(weight.abs() <= LEAST_MEAN * tokens, 0.0, tokens / weight)


# ── formulas ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _none(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    return torch.ones_like(stats.nll)


def _linear(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    if config.eaft_compat is not None:
        return _eaft(config, stats)
    assert config.floor is not None and config.power is not None
    return config.floor + (1 - config.floor) * stats.normalized_entropy.pow(config.power)


def _eaft(config: EntropyConfig, stats: TokenStats) -> Tensor:
    if stats.top20_entropy is None:
        raise ValueError(f"eaft_compat {config.eaft_compat} needs `token_stats(..., top_k_entropy=20)`")
    assert config.power is not None
    scale = LLAMA_FACTORY_SCALE if config.eaft_compat == "llama_factory" else 1.0
    return (stats.top20_entropy / scale).pow(config.power)


def _exponential(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    assert config.sharpness is not None and config.clip is not None
    centre = 0.0 if thresholds.mean_entropy is None else thresholds.mean_entropy / math.log(max(stats.vocab_size, 2))
    return (config.sharpness * (stats.normalized_entropy - centre)).exp().clamp(*config.clip)


def _sigmoid(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    assert config.sharpness is not None and config.midpoint is not None
    return (config.sharpness * (stats.normalized_entropy - config.midpoint)).sigmoid()


def _quantile_mask(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    return _as_weights(kept(config, thresholds, stats.entropy, stats.p), stats.entropy)


def _dft(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    assert config.exponent is not None
    return (-config.exponent * stats.nll).exp()


def _deft(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    return (-stats.sum_sq * stats.nll).exp()


def _focal(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    assert config.exponent is not None
    return (-torch.expm1(-stats.nll)).pow(config.exponent)  # 1 - p without cancellation


def _threshold_p(config: EntropyConfig, stats: TokenStats, thresholds: Thresholds) -> Tensor:
    assert config.threshold is not None
    return _as_weights(stats.p > config.threshold, stats.p)


def _external(external: Tensor | None, stats: TokenStats) -> Tensor:
    if external is None:
        raise ValueError("weighting external needs `external`, the weight of each token")
    if external.shape != stats.nll.shape:
        raise ValueError(f"external weights are {tuple(external.shape)}, the tokens {tuple(stats.nll.shape)}")
    return external.detach().to(stats.nll)


def _as_weights(mask: Tensor, values: Tensor) -> Tensor:
    """0 and 1, with a NaN where a comparison was with one."""
    return torch.where(values.isnan(), values, mask.to(values.dtype))


FORMULAS: Final[dict[str, Callable[[EntropyConfig, TokenStats, Thresholds], Tensor]]] = {
    "none": _none,
    "linear": _linear,
    "exponential": _exponential,
    "sigmoid": _sigmoid,
    "top_quantile": _quantile_mask,
    "drop_top_quantile": _quantile_mask,
    "conflict_mask": _quantile_mask,
    "dft": _dft,
    "deft": _deft,
    "focal": _focal,
    "threshold_p": _threshold_p,
}
