"""One or several processes that train one network together: what the leading one logs.

`python -m tests.training.joint_log FILE FOLDER COUNT`: the data set lies in FOLDER, the log goes to FILE.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize
from attribution_preservation.data.store import Store
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.process.progress import Progress
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.loop import Trainer
from attribution_preservation.training.processes import Processes
from tests.training.test_training import RUNTIME, schedule


def main(out: Path, folder: Path, count: int) -> None:
    """Train a network whose answers to an image do not hang on the other images of its batch, nor on chance."""
    processes = Processes(RUNTIME.model_copy(update={"devices": count}), torch.device("cpu"))
    store, optimization = Store(folder), schedule(learning_rate=0.5)
    torch.manual_seed(1)
    trainer = Trainer(
        TaskObjective(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, len(store.classes)))),
        Batches(store, Framing(size=8), optimization, 0, processes.share),
        Normalize([0.5] * 3, [0.2] * 3),
        key=(0, "test"),
        mean_ap=mean_ap,
        processes=processes,
        progress=Progress(0, "test"),
        save=lambda checkpoint: None,
    )
    trainer.fit(optimization)
    if processes.leads:
        out.write_text(json.dumps(trainer.log))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
