"""What an exception of somebody else's is about."""

from __future__ import annotations

import pytest
import torch

from icm_core.errors import out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (MemoryError("Unable to allocate 9.0 GiB for an array"), True),
        (torch.OutOfMemoryError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA Out of Memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError("No space left on device"), False),
    ],
)
def test_whether_memory_ran_out(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected
