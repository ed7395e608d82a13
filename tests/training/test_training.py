"""Training: the same bits whatever interrupts it, whoever prepares its images."""

import math
import os

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score
from torch import nn
from torch.utils.data import DataLoader

from attribution_preservation.compression.weight_pruning import WeightMasks
from attribution_preservation.data.framing import Framing
from attribution_preservation.data.inputs import Normalize, evaluation_images
from attribution_preservation.data.store import Store
from attribution_preservation.data.store_writer import pack
from attribution_preservation.data.voc import VOC_CLASSES, VOCDirectory
from attribution_preservation.errors import UserError
from attribution_preservation.metrics.prediction import mean_ap
from attribution_preservation.models.task import TaskObjective
from attribution_preservation.models.vgg import VGG
from attribution_preservation.optimization import Augmentation, Optimization
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.tensors import write_tensors
from attribution_preservation.training.answers import Answers
from attribution_preservation.training.augmentation import Crops
from attribution_preservation.training.batches import Batches
from attribution_preservation.training.checkpoint import load_checkpoint, save_checkpoint
from attribution_preservation.training.log import log_csv
from attribution_preservation.training.loop import Trainer, learning_rate
from attribution_preservation.training.processes import Processes
from attribution_preservation.training.randomness import derived_seed
from attribution_preservation.training.runtime import set_up
from attribution_preservation.training.runtime_settings import Runtime
from tests.conftest import write_splits, write_voc_image

AUGMENTED = Augmentation(crop_scale=[0.3, 1.0], flip=0.5)
RUNTIME = Runtime(
    device="cpu",
    precision="32-true",
    cpu_threads=1,
    jobs=1,
    workers=0,
    devices=1,
    nodes=1,
    checkpoint_seconds=0.0,
    compile=False,
    deterministic=True,
)
PLAIN = Augmentation(crop_scale=None, flip=0.0)


def schedule(**changes):
    values = {
        "epochs": 3, "images_per_epoch": None, "batch_size": 4, "learning_rate": 0.05, "milestones": [2],
        "gamma": 0.1, "momentum": 0.9, "weight_decay": 0.001, "augmentation": AUGMENTED,
    }  # fmt: skip
    return Optimization(**(values | changes))


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "voc"
    names = [f"image{'x' * k}" for k in range(12)]
    for k, name in enumerate(names):
        mask = torch.full((10 + k, 14), k % 5 + 1).numpy()
        write_voc_image(root, name, [VOC_CLASSES[k % 5]], mask)
    write_splits(root, names[:10], names[10:])
    (tmp_path / "store").mkdir()
    pack(VOCDirectory(root, VOC_CLASSES), tmp_path / "store")
    return Store(tmp_path / "store")


def network():
    torch.manual_seed(3)
    return VGG((4, "M", 4, "M"), classes=20, input_size=8, dropout=0.5)


def make_trainer(student, store, optimization, *, key, save=lambda checkpoint: None, runtime=RUNTIME):
    return Trainer(
        TaskObjective(student),
        Batches(store, Framing(size=8), optimization, workers=runtime.workers),
        Normalize([0.5] * 3, [0.2] * 3),
        key=key,
        mean_ap=mean_ap,
        processes=Processes(runtime, torch.device("cpu")),
        progress=Progress(0, "test"),
        save=save,
    )


class Stopped(Exception):
    pass


def train(store, student, path, *, stop_after=None, optimization=None, phases=1, start=None):
    """Train in phases as weight pruning does; stop right after the `stop_after`-th checkpoint."""
    optimization = optimization or schedule()
    saved = 0

    def save(checkpoint):
        nonlocal saved
        save_checkpoint(checkpoint, path)
        saved += 1
        if saved == stop_after:
            raise Stopped

    trainer = make_trainer(student, store, optimization, key=(0, "test"), save=save)
    masks = WeightMasks(student.convolutions())
    for phase in range(start.phase if start else 1, phases + 1):
        if start is None:
            masks.grow(0.2 * phase)
        else:
            masks.load_state(start.tensors["masks"])
        trainer.fit(optimization, phase=phase, start=start, after_step=masks.apply, masks=masks.state)
        start = None
    return trainer


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 6])
def test_a_run_that_resumes_ends_bit_identical_to_one_that_was_never_stopped(store, tmp_path, stop_after):
    whole, path = network(), tmp_path / "state"
    log = train(store, whole, path, phases=2).log
    broken = network()
    with pytest.raises(Stopped):
        train(store, broken, path, phases=2, stop_after=stop_after)
    torch.manual_seed(99)  # a new process has another generator
    resumed = network()
    again = train(store, resumed, path, phases=2, start=load_checkpoint(path))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert again.log == log
    assert all(0 < entry["mean_ap"] < 100 for entry in log)
    assert [(entry["phase"], entry["epoch"]) for entry in log] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_trains_the_same_network(store, tmp_path, mode):
    expected, student = network(), network()
    log = train(store, expected, tmp_path / "state").log
    with mode():
        assert train(store, student, tmp_path / "state").log == log
        assert not torch.is_grad_enabled()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name]), name


def test_the_number_of_workers_changes_nothing(store):
    alone, helped = (Batches(store, Framing(size=8), schedule(), workers) for workers in (0, 2))
    for (a, la), (b, lb) in zip(alone.epoch(0, "t", 1), helped.epoch(0, "t", 1), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(la, lb)


def test_workers_live_as_long_as_the_run(store):
    class ProcessImages:
        """Its images tell which process has read them."""

        def __getattr__(self, name):
            return getattr(store, name)

        def image(self, position):
            return np.full((4, 4, 3), os.getpid() % 251, dtype=np.uint8)

    batches = Batches(ProcessImages(), Framing(size=8), schedule(), workers=2)
    first, second = (
        {image.unique().item() for images, _ in batches.epoch(0, epoch) for image in images} for epoch in (1, 2)
    )
    assert first == second
    assert len(first) == 2
    assert os.getpid() % 251 not in first
    # One that was left in the middle does not disturb the next.
    next(batches.epoch(0, 3))
    alone = Batches(ProcessImages(), Framing(size=8), schedule(), workers=0)
    expected = [labels for _, labels in alone.epoch(0, 4)]
    assert all(torch.equal(ours, labels) for (_, ours), labels in zip(batches.epoch(0, 4), expected, strict=True))


LITTLE = r"^runtime\.workers: 2 processes find too little shared memory \(/dev/shm\)"


def test_too_little_shared_memory_for_the_workers_is_one_line(store, monkeypatch):
    full = "unable to allocate shared memory(shm) for file </torch_7_1>: No space left on device (28)"
    monkeypatch.setattr(torch.Tensor, "share_memory_", lambda tensor: raised(RuntimeError(full)))  # in the workers
    with pytest.raises(UserError, match=LITTLE):
        list(Batches(store, Framing(size=8), schedule(), workers=2).epoch("k"))


# Torch's handler of a child's end raises wherever the process is: where it asks for a batch, or in the midst of a step.
@pytest.mark.parametrize("where", [(DataLoader, "__iter__"), (torch.optim.SGD, "step")])
def test_a_worker_that_the_kernel_ends_for_its_shared_memory_is_one_line(store, monkeypatch, where):
    ended = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are"
    helped = RUNTIME.model_copy(update={"workers": 2})
    monkeypatch.setattr(*where, lambda *_: raised(RuntimeError(ended)))
    with pytest.raises(UserError, match=LITTLE):
        make_trainer(network(), store, schedule(), key=("k",), runtime=helped).fit(schedule())
    monkeypatch.setattr(*where, lambda *_: raised(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        make_trainer(network(), store, schedule(), key=("k",), runtime=helped).fit(schedule())


def test_with_tf32_images_are_still_resized_in_float32(store, monkeypatch):
    """A resized image is an integer from 0 to 255; TF32 keeps ten bits of what is multiplied on the way."""
    rounded = {"resizing": set(), "network": set(), "after": set()}

    def look(where):
        rounded[where].add(torch.backends.cuda.matmul.allow_tf32)

    resized = Crops.resized
    monkeypatch.setattr(Crops, "resized", lambda *arguments: (look("resizing"), resized(*arguments))[1])
    student = network()
    student.register_forward_hook(lambda *_: look("network"))
    runtime = RUNTIME.model_copy(update={"precision": "tf32"})
    trainer = make_trainer(student, store, schedule(), key=("k",), runtime=runtime)
    trainer.fit(schedule(), after_step=lambda: look("after"))
    assert rounded == {"resizing": {False}, "network": {True}, "after": {False}}


def raised(error):
    raise error


def test_an_epoch_is_a_function_of_its_key(store):
    batches = Batches(store, Framing(size=8), schedule(), 0)
    first, same, other = ([i for i, _ in batches.epoch(0, "t", epoch)] for epoch in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_preparing_images_leaves_the_global_generator_alone(store):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(Batches(store, Framing(size=8), schedule(), 0).epoch(0, "t", 1))
    assert torch.equal(torch.rand(3), expected)


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_last_small_batch(store):
    batches = Batches(store, Framing(size=32), schedule(augmentation=PLAIN), 0)
    images = torch.cat([images for images, _ in batches.epoch(0, "t", 1)])
    assert len(images) == batches.images == 8  # of 10, in batches of 4
    assert len({image.numpy().tobytes() for image in images}) == 8


def test_a_subset_makes_an_epoch(store):
    assert Batches(store, Framing(size=8), schedule(images_per_epoch=5), 0).steps == 1


def test_a_batch_that_cannot_be_filled_is_refused(store):
    with pytest.raises(UserError, match=r"batch_size: 11 is more than the 10 training images"):
        Batches(store, Framing(size=8), schedule(batch_size=11), 0)


def test_without_augmentation_the_image_is_the_evaluation_image(store):
    images = torch.cat(
        [i for i, _ in Batches(store, Framing(size=8), schedule(augmentation=PLAIN, batch_size=10), 0).epoch("k")]
    )
    expected = evaluation_images(store, store.part("train"), Framing(size=8))
    assert {i.numpy().tobytes() for i in images} == {i.numpy().tobytes() for i in expected}


@pytest.mark.parametrize("kept", [2**30, 0])
def test_without_random_crops_the_centre_is_shown_as_in_evaluation(store, monkeypatch, kept):
    monkeypatch.setattr("attribution_preservation.training.batches._KEPT", kept)
    framing = Framing(size=8, resize=11)
    plain = schedule(augmentation=PLAIN, batch_size=10)
    ((images, _),) = Batches(store, framing, plain, 0).epoch("k")
    expected = evaluation_images(store, store.part("train"), framing)
    assert {i.numpy().tobytes() for i in images} == {i.numpy().tobytes() for i in expected}
    flipped = schedule(augmentation=Augmentation(crop_scale=None, flip=1.0), batch_size=10)
    ((images, _),) = Batches(store, framing, flipped, 0).epoch("k")
    assert {i.numpy().tobytes() for i in images} == {i.flip(2).numpy().tobytes() for i in expected}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_one_line_from_every_process(store, monkeypatch, workers):
    def broken(position):
        raise UserError("a.JPEG is broken; restore the file")

    monkeypatch.setattr(store, "image", broken)
    with pytest.raises(UserError) as caught:
        list(Batches(store, Framing(size=8), schedule(), workers).epoch("k"))
    assert str(caught.value) == "a.JPEG is broken; restore the file"


def test_the_learning_rate_falls_at_its_milestones():
    rates = [learning_rate(schedule(milestones=[2, 4]), epoch) for epoch in range(6)]
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005])


def test_a_step_is_torchs_own_sgd_step(store):
    # One epoch of one batch, without dropout: the loop must do nothing but forward, backward and step.
    optimization = schedule(epochs=1, batch_size=10, augmentation=PLAIN)
    trained, by_hand = network(), network()
    trained.head.dropout = by_hand.head.dropout = 0.0
    trainer = make_trainer(trained, store, optimization, key=("k",))
    trainer.fit(optimization)
    ((images, labels),) = list(Batches(store, Framing(size=8), optimization, 0).epoch("k", 0, 0))
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9, weight_decay=0.001)
    loss = nn.MultiLabelSoftMarginLoss()(by_hand.train()((images / 255 - 0.5) / 0.2), labels)
    loss.backward()
    optimizer.step()
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, atol=1e-5, rtol=1e-4)
    assert trainer.log[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_the_log_scores_what_the_student_answered_while_it_learnt(store):
    student, answered = network(), []
    student.register_forward_hook(lambda module, images, logits: answered.append(logits.detach().clone()))
    trainer = make_trainer(student, store, schedule(), key=("k",))
    trainer.fit(schedule())
    batches = Batches(store, Framing(size=8), schedule(), 0)
    assert len(answered) == 3 * batches.steps == 6  # no image was shown to it for the score's sake
    for epoch, entry in enumerate(trainer.log):
        labels = torch.cat([labels for _, labels in batches.epoch("k", 0, epoch)]).numpy()
        logits = torch.cat(answered[2 * epoch : 2 * epoch + 2]).numpy()
        classes = [c for c in range(20) if labels[:, c].any()]
        expected = 100 * sum(average_precision_score(labels[:, c], logits[:, c]) for c in classes) / len(classes)
        assert entry["mean_ap"] == pytest.approx(expected)


def scored(logits, labels, looks):
    """The score of three steps of four images each, after every one of which the device may be looked at."""
    answers = Answers(Processes(RUNTIME, torch.device("cpu")), mean_ap)
    for look, *step in zip(looks, logits.split(4), labels.split(4), strict=True):
        answers.add(*step)
        if look:
            answers.fetch()
    return answers.score()


@pytest.mark.parametrize("looks", [(0, 0, 1), (1, 0, 1), (1, 1, 1)])
def test_answers_where_classes_exclude_each_other_are_scored_by_the_top_class(looks):
    logits, labels = torch.randn(12, 3), torch.randint(3, (12,))
    expected = 100 * accuracy_score(labels, logits.argmax(1))
    assert 0 < expected < 100
    assert scored(logits, labels, looks) == {"top1": pytest.approx(expected)}


def test_answers_to_images_without_a_label_have_no_score():
    assert math.isnan(scored(torch.randn(12, 3), torch.zeros(12, 3), (0, 0, 1))["mean_ap"])


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(store, tmp_path):
    broken = network()
    with torch.no_grad():
        broken.head.linear.bias[0] = float("inf")
    with pytest.raises(UserError, match=r"the loss is not finite .*learning_rate"):
        train(store, broken, tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_no_state_is_named(tmp_path):
    write_tensors(tmp_path / "state.safetensors", {"network/a": torch.zeros(1)}, {"log": []})
    with pytest.raises(UserError, match=r"state\.safetensors holds no phase; delete it"):
        load_checkpoint(tmp_path / "state.safetensors")


def test_a_damaged_checkpoint_is_named(store, tmp_path):
    path = tmp_path / "state.safetensors"
    train(store, network(), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"state\.safetensors is damaged .*delete it"):
        load_checkpoint(path)


def test_a_checkpoint_that_does_not_exist_is_a_new_run(tmp_path):
    assert load_checkpoint(tmp_path / "state.safetensors") is None


def test_derived_seeds_differ_by_every_part_and_are_fixed():
    keys = [(0, "teacher", 1), (1, "teacher", 1), (0, "prune_weights", 1), (0, "teacher", 2), (0, "teacher", 1, 7)]
    assert len({derived_seed(*key) for key in keys}) == len(keys)
    # SHA-256 of "0/teacher/1", its first eight bytes as an integer, halved.
    assert derived_seed(0, "teacher", 1) == derived_seed("0", "teacher", "1") < 2**63


def test_the_log_is_a_table():
    assert log_csv([{"phase": 1, "loss": 0.5}, {"phase": 2, "loss": 0.25}]) == "phase,loss\n1,0.5\n2,0.25\n"


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for torchs, reason in (
        (
            "The NVIDIA driver on your system is too old (found version 11040). Please update",
            "too old (found version 11040)",
        ),
        ("Found no NVIDIA driver on your system. Please check", "Found no NVIDIA driver on your system"),
    ):
        monkeypatch.setattr(torch.cuda, "init", lambda torchs=torchs: raised(RuntimeError(torchs)))
        with pytest.raises(UserError) as caught:
            set_up(RUNTIME.model_copy(update={"device": "cuda"}))
        assert str(caught.value).startswith("runtime.device: cuda was asked for, but torch sees none here (")
        assert str(caught.value).endswith(f"{reason}); use auto or cpu")


def test_weights_that_the_last_step_breaks_are_not_kept(store):
    broken = network()
    steps = []

    def break_weights():
        steps.append(1)
        if len(steps) == 2:  # the last of the epoch's two steps
            with torch.no_grad():
                broken.head.linear.bias[0] = float("nan")

    optimization = schedule(epochs=1)
    saved = []
    trainer = make_trainer(broken, store, optimization, key=("k",), save=saved.append)
    with pytest.raises(UserError, match=r"has made head\.linear\.bias infinite or NaN"):
        trainer.fit(optimization, after_step=break_weights)
    assert saved == []


class _Hungry(TaskObjective):
    """Finds memory for a few images alone, as a device does that is too small."""

    def __init__(self, student, fits, error):
        super().__init__(student)
        self._fits, self._error = fits, error

    def forward(self, images, labels):
        if len(images) > self._fits:
            raise self._error
        return super().forward(images, labels)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
@pytest.mark.parametrize(("fits", "named"), [(3, 2), (1, 1), (0, 0)])
def test_full_memory_names_the_batch_that_would_fit(store, error, fits, named):
    trainer = make_trainer(network(), store, schedule(batch_size=8), key=("k",))
    trainer._objective = _Hungry(trainer.student, fits, error)
    with pytest.raises(UserError, match=rf"memory is full with batches of 8 images; .*, {named} fit: lower"):
        trainer.fit(schedule(batch_size=8))


class _Normalizing(_Hungry):
    """Has one cell per image, so that batch normalisation refuses a single one."""

    def forward(self, images, labels):
        if len(images) == 1:
            raise ValueError("Expected more than 1 value per channel when training")
        return super().forward(images, labels)


@pytest.mark.parametrize(("fits", "named"), [(2, 2), (1, 0)])
def test_full_memory_is_told_also_where_one_image_cannot_be_normalised(store, fits, named):
    trainer = make_trainer(network(), store, schedule(batch_size=8), key=("k",))
    trainer._objective = _Normalizing(trainer.student, fits, MemoryError())
    with pytest.raises(UserError, match=rf"memory is full with batches of 8 images; .*, {named} fit: lower"):
        trainer.fit(schedule(batch_size=8))


def test_another_failure_of_torchs_is_no_question_of_memory(store):
    trainer = make_trainer(network(), store, schedule(), key=("k",))
    trainer._objective = _Hungry(trainer.student, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trainer.fit(schedule())


def test_an_image_is_resized_once_in_a_run(store, monkeypatch):
    positions = []
    monkeypatch.setattr(
        store, "image", lambda position, image=store.image: positions.append(position) or image(position)
    )
    batches = Batches(store, Framing(size=8), schedule(augmentation=PLAIN, batch_size=5), 0)
    epochs = [torch.cat([images for images, _ in batches.epoch("k", epoch)]) for epoch in range(3)]
    assert sorted(positions) == store.part("train")
    whole = {image.numpy().tobytes() for image in evaluation_images(store, store.part("train"), Framing(size=8))}
    assert all({image.numpy().tobytes() for image in epoch} == whole for epoch in epochs)


def test_images_that_memory_does_not_hold_are_the_same(store, monkeypatch):
    plain = schedule(augmentation=PLAIN, batch_size=5)
    kept = list(Batches(store, Framing(size=8), plain, 0).epoch("k"))
    monkeypatch.setattr("attribution_preservation.training.batches._KEPT", 0)
    for (images, labels), (again, of_again) in zip(
        kept, Batches(store, Framing(size=8), plain, 0).epoch("k"), strict=True
    ):
        assert (images.int() - again.int()).abs().max() <= 1  # sums in another order
        assert torch.equal(labels, of_again)
