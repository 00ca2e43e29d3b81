"""What a camera needs to code latents without PyTorch: integer networks, gains and tables as arrays.

``examples/icm-camera`` reads them with NumPy. A network is its `IntegerNetwork.state`, the very bytes that fingerprints
are made of.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_core.bitstream.fingerprint import base_fingerprint
from icm_core.coding import FRACTION_BITS, LIMIT, MAX_SYMBOL, gaussian_tables
from icm_core.errors import InputError
from icm_sicmh.gain import INVERSE_BITS

VERSION = 1
STRIDE = 64
"""Pictures are padded to multiples of it."""


def camera_tables(codec: Any) -> dict[str, NDArray[Any]]:
    """Arrays by name; ``about`` is JSON in UTF-8: version, fingerprint, groups, stride and the bits of the arithmetic.

    Args:
        codec: an `icm_sicmh.codec.Hyperprior`; its module imports this one.

    Raises:
        InputError: the codec codes more than h1 and h2.
    """
    if codec.name != "sicmh.hyperprior":
        raise InputError(f"codec {codec.name!r} has no tables for cameras; sicmh.hyperprior has")
    exact, gaussian = codec.exact, gaussian_tables()
    about = {
        "version": VERSION,
        "fingerprint": base_fingerprint(codec).hex(),
        "groups": codec.params.groups,
        "qualities": codec.params.qualities,
        "stride": STRIDE,
        "fraction_bits": FRACTION_BITS,
        "inverse_bits": INVERSE_BITS,
        "limit": LIMIT,
        "most": MAX_SYMBOL,
    }
    widest = max(map(len, gaussian.cdfs))
    rows = np.array([row + [0] * (widest - len(row)) for row in gaussian.cdfs], np.int32)
    networks = {"decoder_h2": exact.decoder_h2, "prediction": exact.prediction}
    networks |= {f"group.{k}": network for k, network in enumerate(exact.groups)}
    return {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        **{f"network.{name}": np.frombuffer(network.state(), np.uint8) for name, network in networks.items()},
        "gain_h1": codec.gain_h1.table.cpu().numpy(),
        "gain_h2": codec.gain_h2.table.cpu().numpy(),
        "h2_cdf": codec.h2_cdf.cpu().numpy(),
        "h2_first": codec.h2_first.cpu().numpy(),
        "gaussian_cdf": rows,
        "gaussian_size": np.array(gaussian.sizes, np.int32),
        "gaussian_first": np.array(gaussian.offsets, np.int32),
    }
