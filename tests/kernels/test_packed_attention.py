import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, StableLmConfig

from tunewright.kernels.packed_attention import use_packed_attention

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}


def model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).double().eval()


@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
@pytest.mark.parametrize("start", [0, 3])
def test_packed_rows_have_the_hidden_states_and_gradients_of_single_rows(key_value_heads, start):
    plain, packed = (model(LlamaConfig(**SIZES, num_key_value_heads=key_value_heads)) for _ in range(2))
    assert use_packed_attention(packed)
    shared = list(range(start))
    rows = [[*shared, 7, 8, 9], [*shared, 11], [*shared, 12, 13, 14, 15]]
    single = [plain.model(torch.tensor([row])).last_hidden_state[0, start:] for row in rows]
    out = packed.model(
        torch.tensor([[*shared, *(token for row in rows for token in row[start:])]]),
        position_ids=torch.tensor([[*range(start), *(place for row in rows for place in range(start, len(row)))]]),
        packed_lengths=[start, *(len(row) - start for row in rows)],
        use_cache=False,
    ).last_hidden_state[0, start:]
    torch.testing.assert_close(out, torch.cat(single))
    for states in (out, torch.cat(single)):
        states.square().sum().backward()
    for one, other in zip(packed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_model_with_a_sliding_window_is_left_alone():
    windowed = model(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4))
    assert not use_packed_attention(windowed)
    assert windowed.config._attn_implementation == "sdpa"


def test_a_padded_batch_is_refused():
    packed = model(LlamaConfig(**SIZES, num_key_value_heads=2))
    assert use_packed_attention(packed)
    with pytest.raises(ValueError, match="not a batch of 2"):
        packed(torch.tensor([[1, 2], [3, 4]]), packed_lengths=[0, 2])
    with pytest.raises(ValueError, match="packed_lengths"):
        packed(torch.tensor([[1, 2]]))


@pytest.mark.parametrize(
    "config",
    [
        StableLmConfig(**SIZES, num_key_value_heads=2),  # its layers keep further arguments to themselves
        LlamaConfig(**SIZES, num_key_value_heads=2, attention_dropout=0.1),
    ],
)
def test_a_model_whose_packed_rows_would_not_be_those_alone_is_left_alone(config):
    other = model(config)
    assert not use_packed_attention(other)
    assert other.config._attn_implementation == "sdpa"
