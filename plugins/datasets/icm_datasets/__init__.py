"""Data sets: CamVid, Cityscapes, ImageNet, class folders, plain pictures, WebDataset shards."""

from __future__ import annotations

from icm_core.interfaces import DataSet
from icm_core.plugins.hookspecs import hookimpl
from icm_datasets.camvid import CamVid
from icm_datasets.cityscapes import Cityscapes
from icm_datasets.folders import Folders
from icm_datasets.imagenet import ImageNet
from icm_datasets.pictures import Pictures
from icm_datasets.webdataset import WebDataset, WebDatasetMaps, WebDatasetPictures

__all__ = [
    "CamVid",
    "Cityscapes",
    "Folders",
    "ImageNet",
    "Pictures",
    "WebDataset",
    "WebDatasetMaps",
    "WebDatasetPictures",
    "icm_datasets",
    "icm_interface",
]

icm_interface = 2


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """The data sets of this plugin."""
    return [CamVid, Cityscapes, Folders, ImageNet, Pictures, WebDataset, WebDatasetMaps, WebDatasetPictures]
