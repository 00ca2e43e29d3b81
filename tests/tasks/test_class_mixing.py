"""The class product against the version that holds all K * C channels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from icm_tasks.class_mixing import ClassMixing, _Mix


def naive(mixing, features, scores):
    blocks = scores.repeat_interleave(features.shape[1], dim=1) * features.repeat(1, mixing.classes, 1, 1)
    return functional.conv2d(blocks, mixing.weight)


def example(dtype=torch.float64):
    torch.manual_seed(0)
    mixing = ClassMixing(classes=3, channels=4).to(dtype)
    features = torch.randn(2, 4, 5, 6, dtype=dtype, requires_grad=True)
    scores = torch.randn(2, 3, 5, 6, dtype=dtype).softmax(1).requires_grad_()
    return mixing, features, scores


def test_values_equal_the_naive_version():
    mixing, features, scores = example()
    torch.testing.assert_close(mixing(features, scores), naive(mixing, features, scores))


def test_values_without_gradients_equal_those_with():
    mixing, features, scores = example()
    with torch.no_grad():
        plain = mixing(features, scores)
    assert torch.equal(plain, mixing(features, scores).detach())


def test_gradients_equal_the_naive_version():
    mixing, features, scores = example()
    wanted = (features, scores, mixing.weight)
    upstream = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    ours = torch.autograd.grad((mixing(features, scores) * upstream).sum(), wanted)
    theirs = torch.autograd.grad((naive(mixing, features, scores) * upstream).sum(), wanted)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_pass_the_numeric_check():
    torch.manual_seed(0)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 4), (5, 3), (3, 4, 4))]
    assert torch.autograd.gradcheck(_Mix.apply, inputs)


def test_training_keeps_no_class_blocks():
    torch.manual_seed(0)
    mixing = ClassMixing(classes=19, channels=8)
    features, scores = torch.randn(1, 8, 16, 16, requires_grad=True), torch.rand(1, 19, 16, 16, requires_grad=True)
    kept: list[int] = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mixing(features, scores)
    assert sum(kept) <= features.numel() + scores.numel() + mixing.weight.numel()


def test_channels_last_gives_the_same():
    mixing, features, scores = example()
    other = features.detach().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mixing(other, scores), mixing(features, scores))


def test_weights_begin_with_one_over_the_channels_as_their_variance():
    torch.manual_seed(0)
    assert abs(float(ClassMixing(classes=19, channels=64).weight.detach().var()) * 64 - 1) < 0.05


def test_under_autocast_it_computes_in_the_type_of_autocast():
    mixing, features, scores = example(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = mixing(features, scores)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), naive(mixing, features, scores), rtol=0.05, atol=0.05)


def test_gradients_of_gradients_are_refused_and_not_wrong():
    mixing = ClassMixing(3, 4)
    features = torch.rand(1, 4, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        mixing(features, torch.rand(1, 3, 2, 2)).square().sum(), features, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
