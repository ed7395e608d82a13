"""Section `runtime`: device and arithmetic."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from attribution_preservation.settings import Section, between

_MOST = 4096


def _there_may_be(number: int) -> int:
    if number > _MOST:
        raise ValueError(f"more than {_MOST}, which no machine has")
    return number


Parallel = Annotated[int, Field(gt=0), AfterValidator(_there_may_be)]


class Runtime(Section):
    """Device and arithmetic.

    Attributes:
        device: `auto` uses a CUDA GPU if there is one, else the CPU.
        precision: arithmetic of a training step. `32-true` is float32 on every device. `tf32` lets a GPU round the
            inputs of products to ten bits. `bf16-mixed` runs networks in bfloat16 and losses in float32. (float16 is
            not offered, because its loss scale would be part of a run's state; bfloat16 has none.) Maps and scores are
            always float32.
        cpu_threads: threads of a process; fixed, because the last bits of sums depend on the number of threads.
        jobs: number of networks that a stage trains or explains at once on a CPU, each in a separate process with one
            thread. None uses one job per core (LOKY_MAX_CPU_COUNT in the environment lowers the number), or 1 job if a
            process has several threads. Results do not depend on it.
        workers: number of processes, in addition to the training process, that read training images which are not kept
            in memory; 0 reads them in the training process.
        devices: number of devices of one machine that train a network together, each on its share of every batch.
        nodes: number of machines that train a network together.
        checkpoint_seconds: minimum time between two saved states of a run. A state is saved at the end of an epoch; 0
            saves one after every epoch. A stopped run loses at most this time and one epoch. Results do not depend on
            it.
        compile: compile the trunks before training with TorchInductor, if the loss differentiates them only once. It
            takes minutes for every shape of network.
        deterministic: refuse GPU kernels whose results differ between runs.
    """

    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["32-true", "tf32", "bf16-mixed"]
    cpu_threads: Parallel
    jobs: Parallel | None
    workers: Annotated[int, Field(ge=0), AfterValidator(_there_may_be)]
    devices: Parallel
    nodes: Parallel
    checkpoint_seconds: Annotated[float, between(0, 3600)]
    compile: bool
    deterministic: bool

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.device == "mps" and self.deterministic:
            raise ValueError("runtime.deterministic: torch has no deterministic pooling on mps; set it to false")
        if (self.jobs or 1) > 1 and self.cpu_threads > 1:
            raise ValueError("runtime.jobs: each of several jobs has one thread; set runtime.cpu_threads to 1")
        return self
