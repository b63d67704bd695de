"""Attention over keys and values that are held for many rows."""

import pytest
import torch

from tunewright.backends.kv import grouped_attention
from tunewright.kernels.causal_rows import WHOLE_TILES

HEADS, KEY_HEADS, SIZE, SCALE = 6, 2, 16, 0.3


def plainly(query, key, value, mask):
    """softmax(q k') v, by its formula."""
    key, value = (t.repeat_interleave(HEADS // KEY_HEADS, dim=1) for t in (key, value))
    scores = (query @ key.mT * SCALE).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("masked", ["each row its own", "all alike", None])
@pytest.mark.parametrize("length", [WHOLE_TILES - 5, WHOLE_TILES, 2 * WHOLE_TILES + 1])
def test_prompts_of_every_length_are_read_as_the_formula_reads_them(length, masked, start, dtype):
    torch.manual_seed(length)
    query = torch.randn(3, HEADS, length, SIZE, dtype=dtype)
    key, value = (torch.randn(3, KEY_HEADS, length, SIZE, dtype=dtype) for _ in range(2))
    held = [tuple(torch.randn(1, KEY_HEADS, start, SIZE, dtype=dtype) for _ in range(2))] if start else None
    mask = torch.ones(length, length, dtype=torch.bool).tril().expand(3, 1, -1, -1).clone()
    if masked:
        mask[1 if masked == "each row its own" else slice(None), :, 4:, :4] = False  # four places of padding
    given = {"each row its own": mask, "all alike": mask[:1], None: None}[masked]
    layer = torch.nn.Module()
    layer.layer_idx = 0
    found, _ = grouped_attention(layer, query, key, value, given, SCALE, held)
    if held:
        key, value = (
            torch.cat([one.expand(3, -1, -1, -1), own], 2) for one, own in zip(held[0], (key, value), strict=True)
        )
        mask = torch.cat([mask.new_ones(3, 1, length, start), mask], -1)
    true = plainly(query.double(), key.double(), value.double(), mask)
    bound = 1e-5 if dtype == torch.float32 else 2**-6
    torch.testing.assert_close(found.double(), true, rtol=bound, atol=bound)
