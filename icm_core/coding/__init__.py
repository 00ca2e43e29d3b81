"""Exact entropy coding: integer networks, fixed probability tables and the rANS streams.

Float networks differ in the last bits between devices, thread counts and library versions, and one different
(mu, sigma) destroys the rest of a stream. Everything between a decoded symbol and a probability therefore
runs on integers here; see ``docs/exact-coding.md``.
"""

from icm_core.coding.bounds import Bound, refuse_inexact
from icm_core.coding.fixed import FRACTION_BITS, LIMIT, rescale, to_fixed, to_float
from icm_core.coding.integer import IntegerNetwork, serialize
from icm_core.coding.rans import MAX_SYMBOL, StreamDecoder, StreamEncoder, fewest_bytes
from icm_core.coding.tables import PRECISION, SIGMA_MIN, CdfTables, gaussian_tables, quantize_pmf, sigma_index

__all__ = [
    "FRACTION_BITS",
    "LIMIT",
    "MAX_SYMBOL",
    "PRECISION",
    "SIGMA_MIN",
    "Bound",
    "CdfTables",
    "IntegerNetwork",
    "StreamDecoder",
    "StreamEncoder",
    "fewest_bytes",
    "gaussian_tables",
    "quantize_pmf",
    "refuse_inexact",
    "rescale",
    "serialize",
    "sigma_index",
    "to_fixed",
    "to_float",
]
