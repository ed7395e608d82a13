"""The processes that train one network together: one per device, on one machine or several (Lightning Fabric, DDP).

Every process runs the whole stage on its share of each batch. Only the first process, the leading process, holds locks,
writes files and prints messages. The others read its files, so all machines must share the project's folder.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from attribution_preservation.errors import UserError
from attribution_preservation.process.rank import leads, number
from attribution_preservation.training.arithmetic import allow_tf32
from attribution_preservation.training.runtime_settings import Runtime

if TYPE_CHECKING:
    from lightning_fabric.strategies import Strategy


class Processes:
    """This process among the processes that train together; it is alone if runtime.devices and runtime.nodes are 1.

    If neither torchrun nor SLURM has started the other processes, they are started here with this process's command
    line.

    Args:
        runtime: device, precision and counts.
        device: this stage's device, as `set_up` has chosen it.

    Raises:
        UserError: there are fewer devices than params.yaml asks for, or the started processes are different ones.
    """

    def __init__(self, runtime: Runtime, device: torch.device) -> None:
        self.count, self._tf32 = runtime.devices * runtime.nodes, runtime.precision == "tf32"
        if self.count == 1 and not leads():
            raise UserError(
                f"{number()} in the environment says that this process helps another, but runtime.devices and "
                "runtime.nodes are 1; unset it, or raise them"
            )
        if device.type == "cuda" and runtime.devices > (there := torch.cuda.device_count()):
            raise UserError(f"runtime.devices: {runtime.devices} GPUs were asked for, but torch sees {there} here")
        # Imported here: it imports TorchInductor, which creates a cache folder. A stage reports a failure in one line.
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy

        strategy: str | Strategy = DDPStrategy() if self.count > 1 else "auto"
        try:
            self.fabric = Fabric(
                accelerator=device.type,
                devices=runtime.devices,
                num_nodes=runtime.nodes,
                strategy=strategy,
                precision="32-true" if self._tf32 else runtime.precision,
            )
            if self.count > 1:
                self.fabric.launch()
        except (ValueError, RuntimeError) as error:  # SLURM or torchrun started other processes than params.yaml says
            raise UserError(
                f"runtime.devices and runtime.nodes ask for {runtime.devices} processes on each of {runtime.nodes} "
                f"machines, which cannot be had: {error}"
            ) from None
        self.device = self.fabric.device
        self.rank = self.fabric.global_rank

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Context for a training step, with its arithmetic. Other code on a GPU keeps full float32 precision."""
        allow_tf32(self._tf32)
        try:
            yield
        finally:
            allow_tf32(False)

    @property
    def share(self) -> tuple[int, int]:
        """This process's share of every batch: its number, and the number of processes."""
        return self.rank, self.count

    @property
    def leads(self) -> bool:
        """Whether this is the leading process, which writes files."""
        return leads()

    def agreed(self, value: Any) -> Any:
        """The leading process's value, in every process, after all processes have called this."""
        return self.fabric.broadcast(value) if self.count > 1 else value

    def summed(self, value: torch.Tensor) -> torch.Tensor:
        """A tensor's sum over all processes, in every process."""
        return self.fabric.all_reduce(value.clone(), reduce_op="sum") if self.count > 1 else value

    def gathered(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of all processes, on the CPU of every process.

        Args:
            rows: [N, ...], rows of this process's shares of some batches, one batch after the other.

        Returns:
            [count * N, ...], in the order that a single process would have (see `share`).
        """
        if self.count == 1:
            return rows.cpu()
        of_all = self.fabric.all_gather(rows)  # [count, N, ...]
        return of_all.transpose(0, 1).flatten(0, 1).cpu()

    def join_normalization(self, network: nn.Module) -> None:
        """Let batch normalisation use the whole batch of all processes, on GPUs.

        torch has no such layer for a CPU. There each process normalises with its own share of a batch, and the running
        statistics are those of the leading process.
        """
        if self.count > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
