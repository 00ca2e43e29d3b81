"""Networks of Hugging Face's transformers as task heads."""

from icm_tasks.transformers_models.head import Transformers, TransformersParams

__all__ = ["Transformers", "TransformersParams"]
