"""The wrappers in one place: what a meta-learner sees, and the trial."""

from .meta_observation import MetaObservation, VectorMetaObservation
from .trial import Trial, VectorTrial

__all__ = ["MetaObservation", "Trial", "VectorMetaObservation", "VectorTrial"]
