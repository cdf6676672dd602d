"""`experiments.maze`, by processes that take a second to leave: others notice before they speak."""

import runpy
import time

import torch.distributed as dist

leave = dist.destroy_process_group


def leave_slowly() -> None:
    time.sleep(1)
    leave()


if __name__ == "__main__":
    dist.destroy_process_group = leave_slowly
    runpy.run_module("experiments.maze", run_name="__main__", alter_sys=True)
