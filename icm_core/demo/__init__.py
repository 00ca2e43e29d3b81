"""The demonstration: real photographs through a pipeline, as numbers, pictures and one page."""

from icm_core.demo.collect import Demo, Sample, Step, collect
from icm_core.demo.page import page
from icm_core.demo.samples import shipped_photographs
from icm_core.demo.sheet import sheet_of_all, sheet_of_one

__all__ = ["Demo", "Sample", "Step", "collect", "page", "sheet_of_all", "sheet_of_one", "shipped_photographs"]
