"""The contracts of the framework, one abstract class per module."""

from icm_core.interfaces.adapter import SideInfoAdapter
from icm_core.interfaces.codec import Codec
from icm_core.interfaces.component import Component, ComponentParams
from icm_core.interfaces.dataset import DataSet, DataSetParams, Sample
from icm_core.interfaces.enhancement import Enhancement
from icm_core.interfaces.head import TaskHead
from icm_core.interfaces.kind import Drawn, Figure, Tally, TaskKind, Weights
from icm_core.interfaces.nested import Nested
from icm_core.interfaces.pipeline import PipelineView, TaskView
from icm_core.interfaces.spec_path import SpecPath
from icm_core.nests import Nest

__all__ = [
    "Codec",
    "Component",
    "ComponentParams",
    "DataSet",
    "DataSetParams",
    "Drawn",
    "Enhancement",
    "Figure",
    "Nest",
    "Nested",
    "PipelineView",
    "Sample",
    "SideInfoAdapter",
    "SpecPath",
    "Tally",
    "TaskHead",
    "TaskKind",
    "TaskView",
    "Weights",
]
