"""What a prediction's output has to be, for kinds whose outputs are one tensor."""

from __future__ import annotations

from torch import Tensor

from icm_core.nests import Nest, shown


def check_output(output: Nest, shape: tuple[int | None, ...], what: str) -> None:
    """Raise `ValueError` with a clause unless an output is a tensor of finite real numbers, of a shape.

    Args:
        output: a prediction's.
        shape: what it should have; None is any number.
        what: what the numbers are, for the clause.
    """
    asked = f"({', '.join('any' if side is None else str(side) for side in shape)})"
    if not (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.dim() == len(shape)
        and all(want in (None, have) for want, have in zip(shape, output.shape, strict=True))
    ):
        raise ValueError(f"is {shown(output)}; it should be {what}, {asked}")
    if not bool(output.isfinite().all()):
        raise ValueError(f"has values that are not finite among its {what}")
