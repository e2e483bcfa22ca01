"""Weights, gradients and optimiser state divided among devices (FSDP2).

For denoisers that do not fit on one device.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from ordo.settings import Text, checked


@checked
class ShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2 strategy over all devices, nothing else in parallel.

    Args:
        sharded_checkpoints: every rank writes its own part into a folder, from which only such a
            run can go on, on any number of devices. False: rank 0 gathers one ordinary checkpoint,
            which everything can read.
        backend: of torch.distributed; None: nccl on GPUs, gloo elsewhere.
    """

    def __init__(self, sharded_checkpoints: bool = False, backend: Text | None = None):
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=sharded_checkpoints,
            process_group_backend=backend,
        )
        self.sharded_checkpoints = sharded_checkpoints

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: object = None
    ) -> None:
        # An earlier run may have left a folder of parts, which Lightning would remove on all ranks.
        if not self.sharded_checkpoints and Path(filepath).is_dir():
            self.barrier()
            if self.is_global_zero:
                shutil.rmtree(filepath)
            self.barrier()
        super().save_checkpoint(checkpoint, filepath, storage_options)


def shard(denoiser: nn.Module, schedule: nn.Module, mesh: DeviceMesh) -> None:
    """Divides the blocks of the denoiser, then what is left of the denoiser.

    The schedule, a few numbers, stays whole on every rank; its gradients are averaged as they come.
    """
    for block in getattr(denoiser, "blocks", ()):
        fully_shard(block, mesh=mesh)
    fully_shard(denoiser, mesh=mesh)
    if hasattr(denoiser, "nll"):
        register_fsdp_forward_method(denoiser, "nll")
    for parameter in (p for p in schedule.parameters() if p.requires_grad):
        parameter.register_post_accumulate_grad_hook(_average)


def _average(parameter: Tensor) -> None:
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()


def gathered(module: nn.Module) -> dict[str, Any]:
    """The whole state on rank 0, nothing on other ranks. All ranks must call this function."""
    return get_model_state_dict(
        module, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
