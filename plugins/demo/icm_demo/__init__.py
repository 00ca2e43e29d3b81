"""The demonstration: real photographs through a pipeline, as numbers, pictures and one page."""

from icm_demo.collect import Answer, Demo, Sample, Step, collect
from icm_demo.page import page
from icm_demo.samples import shipped_photographs
from icm_demo.sheet import sheet_of_all, sheet_of_one

__all__ = ["Answer", "Demo", "Sample", "Step", "collect", "page", "sheet_of_all", "sheet_of_one", "shipped_photographs"]
