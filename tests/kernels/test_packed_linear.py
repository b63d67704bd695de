from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tunewright.kernels.packed_linear import PackedLinear, cpu_has_avx512, pack_linears
from tunewright.models.precision import cpu_has_bfloat16

DTYPES = [torch.float32, *([torch.bfloat16] if cpu_has_bfloat16() else [])]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (38, 48), (2, 5, 48), (600, 48)])
@torch.inference_mode()
def test_the_product_is_that_of_the_layer(shape, bias, dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 80, bias=bias, dtype=dtype)
    packed = PackedLinear(layer)
    close = {"rtol": 2**-7, "atol": 1e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    for x in (torch.randn(shape, dtype=dtype), torch.randn(*shape[:-1], 96, dtype=dtype)[..., ::2]):  # every stride
        torch.testing.assert_close(packed(x), layer(x), **close)


def test_in_float32_only_large_layers_are_packed_and_only_where_it_pays():
    model = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.Linear(512, 64))
    large = PackedLinear if cpu_has_avx512() else torch.nn.Linear
    assert [type(layer) for layer in pack_linears(model)] == [large, torch.nn.Linear]


def test_a_model_whose_code_may_read_its_weights_is_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(512, 512))
    model.config = SimpleNamespace(model_type="jamba")
    assert type(pack_linears(model)[0]) is torch.nn.Linear


def test_other_precisions_are_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(512, 512, dtype=torch.float64))
    assert type(pack_linears(model)[0]) is torch.nn.Linear


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="the CPU does not multiply bfloat16")
def test_large_frozen_layers_are_packed_and_those_of_an_adapter_are_not():
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8)).to(torch.bfloat16)
    x = torch.randn(3, 64).bfloat16()
    expected = model(x).detach()
    packed = pack_linears(model)
    assert [type(layer) for layer in packed] == [PackedLinear, torch.nn.Linear]
    assert packed[0].weight.dtype == torch.bfloat16 and packed[0].weight.shape == (64, 64)
    assert [name for name, _ in packed.named_parameters()] == ["1.weight", "1.bias"]  # its own weight is let go
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), expected, rtol=2**-6, atol=2**-6)


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="the CPU does not multiply bfloat16")
@pytest.mark.parametrize(("options", "packed"), [({}, True), ({"use_dora": True}, False)])
def test_an_adapter_adds_what_it_adds_in_training_and_unusual_ones_are_left_alone(options, packed):
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["first"], init_lora_weights=False, **options)
    model = get_peft_model(Net().to(torch.bfloat16), config).requires_grad_(False).eval()
    x = torch.randn(2, 5, 64).bfloat16()
    expected = model(x)
    names = {type(module).__name__ for module in pack_linears(model).modules()}
    assert ("PackedLoraLinear" in names) == packed and "PackedLinear" in names
    with torch.inference_mode():
        torch.testing.assert_close(model(x), expected, rtol=2**-5, atol=2**-4)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(64, 96), torch.nn.Linear(96, 64)

    def forward(self, x):
        return self.second(self.first(x))
