"""What the hardware decides, told without importing torch."""

import torch

from tunewright.models.precision import built_for_cuda, has_cuda

CPU = "__version__ = '2.13.0+cpu'\ndebug = False\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"


def test_the_file_of_torch_says_whether_it_was_built_for_cuda():
    assert not built_for_cuda(CPU)
    assert built_for_cuda(CPU.replace("cuda: Optional[str] = None", "cuda: Optional[str] = '12.8'"))
    assert built_for_cuda("cuda = '11.8'\n") and not built_for_cuda("cuda = None\n")


def test_it_says_what_torch_says():
    assert has_cuda() == torch.cuda.is_available()


def test_a_gpu_that_is_hidden_from_us_is_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_cuda()
