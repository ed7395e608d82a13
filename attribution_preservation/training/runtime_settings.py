"""Section `runtime`: what computes, and how exactly."""

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
        device: `auto` takes a CUDA GPU where there is one, else the CPU.
        precision: arithmetic of a training step. `32-true` is float32 on every device; `tf32` lets a GPU round what it
            multiplies to ten bits; `bf16-mixed` runs networks in bfloat16 and losses in float32. (float16 is not among
            them: its loss scale would have to be part of a run's state, and bfloat16 needs none.) Maps and scores are
            float32 under all of them.
        cpu_threads: of a process; fixed, because sums differ in their last bits with the number of threads.
        jobs: networks that a stage trains or explains at once on a CPU, each in a process of its own with one thread;
            None takes as many as there are cores (LOKY_MAX_CPU_COUNT in the environment lowers their number), or 1
            where a process has several threads. Changes no result.
        workers: processes that read training images beside the training process, where those are not kept in
            memory; 0 reads them in it.
        devices: of one machine that train a network together, each on its share of every batch.
        nodes: machines that do.
        checkpoint_seconds: at the end of an epoch a run's state is written if the last one was written so long ago; 0
            writes one after every epoch. A run that is stopped loses so much work, and an epoch. Changes no result.
        compile: compile the trunks before training, where the loss differentiates them once (TorchInductor; minutes
            for every shape of network).
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
