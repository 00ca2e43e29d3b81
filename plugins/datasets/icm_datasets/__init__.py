"""Data sets: COCO, Pascal VOC, CamVid, Cityscapes, ImageNet, NYU-Depth, folders of all sorts, WebDataset shards."""

from __future__ import annotations

from icm_core.interfaces import DataSet
from icm_core.plugins.hookspecs import hookimpl
from icm_datasets.camvid import CamVid
from icm_datasets.cityscapes import Cityscapes
from icm_datasets.coco import COCO
from icm_datasets.folders import Folders
from icm_datasets.imagenet import ImageNet
from icm_datasets.pairs import NYU, Pairs
from icm_datasets.pictures import Pictures
from icm_datasets.voc import VOC
from icm_datasets.webdataset import WebDataset, WebDatasetMaps, WebDatasetPictures

__all__ = [
    "COCO",
    "NYU",
    "VOC",
    "CamVid",
    "Cityscapes",
    "Folders",
    "ImageNet",
    "Pairs",
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
    return [
        CamVid,
        Cityscapes,
        COCO,
        Folders,
        ImageNet,
        NYU,
        Pairs,
        Pictures,
        VOC,
        WebDataset,
        WebDatasetMaps,
        WebDatasetPictures,
    ]
