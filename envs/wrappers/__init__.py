"""The wrappers in one place: what a meta-learner sees, and the trial."""

from .meta_observation import MetaObservation
from .trial import Trial
from .vector_meta_observation import VectorMetaObservation
from .vector_trial import VectorTrial

__all__ = ["MetaObservation", "Trial", "VectorMetaObservation", "VectorTrial"]
