"""Data sets: CamVid, Cityscapes, ImageNet, class folders, plain pictures, WebDataset shards."""
