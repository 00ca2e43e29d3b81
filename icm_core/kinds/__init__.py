"""The kinds of answers that the core brings: classes, class maps, pictures, values. Others come from plugins."""

from icm_core.kinds.classification import Classification
from icm_core.kinds.labels import match_labels, renumbered
from icm_core.kinds.means import mean, resampled_means
from icm_core.kinds.painting import captioned, colour_of, label, overlay
from icm_core.kinds.reconstruction import Reconstruction
from icm_core.kinds.regression import Regression
from icm_core.kinds.segmentation import Segmentation

__all__ = [
    "Classification",
    "Reconstruction",
    "Regression",
    "Segmentation",
    "captioned",
    "colour_of",
    "label",
    "match_labels",
    "mean",
    "overlay",
    "renumbered",
    "resampled_means",
]
