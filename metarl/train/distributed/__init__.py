"""Several processes, on one machine or many, that learn from the same meta-batches (`torchrun`)."""

from metarl.train.distributed.job import Job
from metarl.train.distributed.launch import check_device, job

__all__ = ["Job", "check_device", "job"]
