"""What a training loss is, and the noise that stands for rounding while a codec trains."""

from icm_core.training.loss import Batch, Loss
from icm_core.training.noise import noise_of, uniform_noise

__all__ = ["Batch", "Loss", "noise_of", "uniform_noise"]
