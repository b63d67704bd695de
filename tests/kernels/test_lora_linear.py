import pytest
import torch
from peft import LoraConfig, get_peft_model

from tunewright.kernels.lora_linear import LoraLinear, lora_linear, lora_linear_eager


def tensors(bias, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = {"x": (2, 5, 7), "weight": (11, 7), "bias": (11,), "a": (3, 7), "b": (11, 3)}
    made = {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}
    for name in ("x", "a", "b"):
        made[name].requires_grad_()
    return made["x"], made["weight"], made["bias"] if bias else None, made["a"], made["b"]


@pytest.mark.parametrize("bias", [False, True])
def test_value_and_gradients_are_those_of_the_eager_formula(bias):
    found, expected = tensors(bias), tensors(bias)
    upstream = torch.randn(2, 5, 11, dtype=torch.float64)
    for function, arguments in ((lora_linear, found), (lora_linear_eager, expected)):
        (function(*arguments, 0.5) * upstream).sum().backward()
    torch.testing.assert_close(lora_linear(*found, 0.5), lora_linear_eager(*expected, 0.5))
    for one, other in zip(found, expected, strict=True):
        if one is not None and one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad)


def test_gradients_are_those_of_finite_differences():
    x, weight, bias, a, b = tensors(bias=True)
    assert torch.autograd.gradcheck(lambda x, a, b: lora_linear(x, weight, bias, a, b, 0.5), (x, a, b))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(7, 11), torch.nn.Linear(11, 3, bias=False)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def adapted(ours, **options):
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["first", "second"], init_lora_weights=False, **options)
    if ours:
        config._register_custom_module({torch.nn.Linear: LoraLinear})
    return get_peft_model(Net(), config)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"lora_bias": True}, {"use_rslora": True}])
def test_a_model_with_our_layer_computes_what_one_with_the_layer_of_peft_does(options):
    x = torch.randn(5, 7)
    outputs, gradients = [], []
    for ours in (False, True):
        model = adapted(ours, **options)
        assert any(isinstance(module, LoraLinear) for module in model.modules()) == ours
        out = model(x)
        out.square().sum().backward()
        outputs.append(out)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


def test_with_the_adapter_off_merged_or_with_dropout_the_layer_of_peft_does_it():
    x = torch.randn(5, 7)
    model = adapted(True).eval()
    with_adapter = model(x)
    with model.disable_adapter():
        torch.testing.assert_close(model(x), model.get_base_model()(x))
        assert not torch.allclose(model(x), with_adapter)
    model.merge_adapter()
    torch.testing.assert_close(model(x), with_adapter)
    dropping = adapted(True, lora_dropout=0.5).train()
    assert not torch.allclose(dropping(x), dropping(x))


def test_a_float32_adapter_beside_a_bfloat16_base_keeps_float32_gradients():
    model = adapted(True)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    model(torch.randn(5, 7, dtype=torch.bfloat16)).float().sum().backward()
    assert {p.grad.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
