"""Kinds of answers that come with the task heads: boxes, masks, keypoints, distances, embeddings."""

from icm_tasks.kinds.depth import Depth
from icm_tasks.kinds.detection import Detection
from icm_tasks.kinds.embedding import Embedding
from icm_tasks.kinds.instances import Instances
from icm_tasks.kinds.keypoints import Keypoints
from icm_tasks.kinds.things import Things

__all__ = ["Depth", "Detection", "Embedding", "Instances", "Keypoints", "Things"]
