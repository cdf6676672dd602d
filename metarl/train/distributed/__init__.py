"""Several processes, on one machine or many, that learn from the same meta-batches (`torchrun`)."""

from metarl.train.distributed.job import Job, said_by_first
from metarl.train.distributed.launch import (
    check_device,
    job,
    rank_of_launch,
    refuse_several,
    shell_words,
)

__all__ = [
    "Job",
    "check_device",
    "job",
    "rank_of_launch",
    "refuse_several",
    "said_by_first",
    "shell_words",
]
