"""The kinds of answers that the core brings: classes, class maps, pictures, values. Others come from plugins.

And what kinds of others may use: classes by name, means, checks of outputs, drawing.
"""

from icm_core.kinds.classification import Classification, kl_divergence
from icm_core.kinds.labels import check_classes, match_labels, renumbered
from icm_core.kinds.means import mean, number, resampled_means
from icm_core.kinds.outputs import check_output
from icm_core.kinds.painting import (
    Swatch,
    captioned,
    colour_of,
    indexed_picture,
    label,
    overlay,
    swatches,
    text_size,
    with_legend,
)
from icm_core.kinds.reconstruction import Reconstruction
from icm_core.kinds.regression import Regression
from icm_core.kinds.segmentation import Enlarged, Segmentation

__all__ = [
    "Classification",
    "Enlarged",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "Swatch",
    "captioned",
    "check_classes",
    "check_output",
    "colour_of",
    "indexed_picture",
    "kl_divergence",
    "label",
    "match_labels",
    "mean",
    "number",
    "overlay",
    "renumbered",
    "resampled_means",
    "swatches",
    "text_size",
    "with_legend",
]
