"""Malformed inputs, and what a stage makes of each: a line and exit code 2, or the work done; no traceback, no hang.

Every input is a change of a finished project, followed by the first stage that reads what was changed, in a process
of its own with a limit of time and memory. A server process that has imported everything forks them: to start Python
and torch takes longer than to refuse an input.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from attribution_preservation.storage.yaml_text import format_yaml, parse_yaml
from tests.conftest import (
    TINY,
    WNIDS,
    command_of,
    make_imagenet,
    make_voc,
    pack_validation,
    write_manifests,
    write_parameters,
    write_splits,
)

Spoil = Callable[[Path], None]
SECONDS, MEMORY = 120, 12 * 2**30
STAGES = (
    "code",
    "check", "dataset", "teacher", "prune_channels", "attribute", "evaluate", "probe", "roar", "analysis", "figures",
    "report",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A malformed input.

    Attributes:
        name: what is wrong with what.
        stage: the stage that reads it, with its arguments.
        spoil: puts it into a project.
    """

    name: str
    stage: tuple[str, ...]
    spoil: Spoil


@dataclass(frozen=True)
class Outcome:
    """What a stage made of a case: `refused` in a line, `accepted`, `traceback` or `hang`, and its last words."""

    kind: Literal["refused", "accepted", "traceback", "hang"]
    message: str


def outcome(case: Case, finished: Path, folder: Path) -> Outcome:
    """Run a case in a copy of a finished project, which is removed afterwards.

    Args:
        case: the case.
        finished: a project in which every stage ran.
        folder: for the copy; on the same disk, because files that stay as they are become links.
    """
    root = folder / "project"
    shutil.copytree(finished, root, copy_function=os.link, ignore=shutil.ignore_patterns(".resume"), symlinks=True)
    try:
        case.spoil(root)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.faults.malformed", *(command_of(name)[0] for name in STAGES)])
        process = context.Process(target=_stage, args=(root, case.stage, _other_parameters(root, finished)))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            return Outcome("hang", f"more than {SECONDS} s")
        lines = (root / "stderr").read_text(errors="replace").splitlines() or [""]
        if process.exitcode == 0:
            return Outcome("accepted", lines[-1])
        errors = [line for line in lines if line.startswith(f"{case.stage[0]}: error: ")]
        if process.exitcode == 2 and len(errors) == 1 and errors[0] == lines[-1]:
            return Outcome("refused", errors[0])
        return Outcome("traceback", f"exit code {process.exitcode}: " + " / ".join(lines[-3:]))
    finally:
        shutil.rmtree(root)


def _other_parameters(root: Path, finished: Path) -> bool:
    """Whether parameters may name other entries, whose modules the stage code would list before any other stage."""
    try:
        return (root / "params.yaml").read_bytes() != (finished / "params.yaml").read_bytes()
    except OSError:
        return False


def _stage(root: Path, words: tuple[str, ...], other: bool) -> None:
    os.chdir(root)
    if other:
        with contextlib.suppress(Exception):  # parameters that make no graph are for the stage itself to refuse
            write_manifests(root)
    stderr = os.open("stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(stderr, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    name, *arguments = words
    module, *chosen = command_of(name)
    sys.argv = [module, *chosen, *arguments]
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace", line_buffering=True)
    from attribution_preservation.pipeline.run.command import run

    run(module.removeprefix("stages."), importlib.import_module(module).main)


def written(path: str, content: bytes | str) -> Spoil:
    """A file with another content; not through a link to the one of the finished project."""

    def spoil(root: Path) -> None:
        target = root / path
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def changed(path: str, change: Callable[[bytes], bytes]) -> Spoil:
    """A file with its content changed."""
    return lambda root: written(path, change((root / path).read_bytes()))(root)


def _noise(content: bytes) -> bytes:
    return random.Random(len(content)).randbytes(len(content))


# What may become of any file: in a broken transfer, on a bad disk, by somebody's hand.
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "its first byte": lambda content: content[:1],
    "its first half": lambda content: content[: len(content) // 2],
    "all but its last byte": lambda content: content[:-1],
    "twice": lambda content: content * 2,
    "zeros": lambda content: bytes(len(content)),
    "noise": _noise,
    "its first bytes flipped": lambda content: bytes(255 - byte for byte in content[:16]) + content[16:],
    "its middle overwritten": lambda content: (
        content[: len(content) // 2] + b"\xff" * 16 + content[len(content) // 2 + 16 :]
    ),
    "another text": lambda content: b"rubbish\n",
    "an empty mapping": lambda content: b"{}\n",
    "a pickle": lambda content: pickle.dumps({"network": [1.0]}),
}
TEACHER = "teacher/vgg6_bn/seed-0/network.safetensors"
LOG = "models/all/distill/half/sswa/sswa/seed-0/log.csv"
READ_PAIRS = "scores/all/teacher/pairs/vgg6_bn/seed-0/network.safetensors"
# File: the first stage that reads it.
READERS: dict[str, tuple[str, ...]] = {
    "params.yaml": ("check",),
    "dvc.yaml": ("report",),
    "data/dataset/index.json": ("evaluate", "--batch", "teacher"),
    "data/dataset/images.bin": ("evaluate", "--batch", "teacher"),
    "data/dataset/masks.bin": ("evaluate", "--batch", "teacher"),
    f"models/all/{TEACHER}": ("attribute", "--batch", "teacher"),
    f"maps/all/{TEACHER}": ("evaluate", "--batch", "teacher"),
    "scores/all/teacher/truth.safetensors": ("analysis",),
    READ_PAIRS: ("analysis",),
    f"probes/all/pairs/{TEACHER}": ("analysis",),
    "roar/all/random/seed-0/removed-0/retraining-0/logits.safetensors": ("analysis",),
    "scores/all/teacher/results.csv": ("report",),
    "probes/all/results.csv": ("report",),
    "analysis/significance.csv": ("report",),
}


def cases() -> Iterator[Case]:
    """All of them, in an order that never changes."""
    for path, stage in READERS.items():
        for what, change in DAMAGE.items():
            yield Case(f"{path}: {what}", stage, changed(path, change))
        yield Case(f"{path}: missing", stage, lambda root, path=path: (root / path).unlink())
        yield Case(f"{path}: a folder", stage, lambda root, path=path: _folder(root / path))
    yield from _parameters()
    yield from _tensors()
    yield from _indices()
    yield from _tables()
    yield from _files_of_voc()
    yield from _splits_of_voc()
    yield from _imagenet()
    yield from _archives()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _parameters() -> Iterator[Case]:
    texts = {
        "a tag that runs a command": "!!python/object/apply:os.system ['true']",
        "a tag below a key": "profile: !!python/name:os.system",
        "10,000 lists in one another": "[" * 10_000,
        "aliases of aliases": "a0: &a0 [x, x]\n"
        + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)),
        "a list in itself": "profile: &a [*a]",
        "a date that there is not": "profile: 2026-13-45",
        "a number of 10,000 digits": f"profile: {'9' * 10_000}",
        "two documents": "a: 1\n---\nb: 2\n",
        "a tab": "profile:\n\t- 1\n",
        "a mapping as a key": "{a: 1}: 2\n",
        "control letters": "profile: \x1b[2J\n",
    }
    for what, text in texts.items():
        yield Case(f"params.yaml: {what}", ("check",), written("params.yaml", text))
    yield Case("params.yaml: UTF-16", ("check",), written("params.yaml", "profile: a\n".encode("utf-16")))
    seeds = lambda root: (root / "params.yaml").unlink() or write_parameters(root, TINY | {"seed_groups": 3})  # noqa: E731
    yield Case("params.yaml: seed_groups is a number before teacher", ("teacher",), seeds)

    def without_report(content: bytes) -> bytes:
        graph = parse_yaml(content.decode())
        del graph["stages"]["report"]
        return format_yaml(graph).encode()

    yield Case("dvc.yaml: no report", ("report",), changed("dvc.yaml", without_report))
    values = {
        "nothing": None, "a negative number": -1, "a word": "x", "a list": [], "a mapping": {},
        "infinity": float("inf"), "a line break": "a\nb", "a huge number": 10**30,
    }  # fmt: skip
    keys = (
        "profile", "seed_groups", "data.digits.train_images", "input.size", "teacher.optimization", "matching",
        "prune_weights.students", "distill.logits", "attribute.methods", "runtime.cpu_threads",
    )  # fmt: skip
    for key in keys:
        for what, value in values.items():
            spoil = lambda root, key=key, value=value: (  # noqa: E731
                (root / "params.yaml").unlink(), write_parameters(root, TINY | {key: value}),
            )  # fmt: skip
            yield Case(f"params.yaml: {key} is {what}", ("check",), spoil)


def _header(content: bytes, change: Callable[[dict], object]) -> bytes:
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def _description(content: bytes, change: Callable[[dict], object]) -> bytes:
    def of_header(header: dict) -> None:
        description = json.loads(header["__metadata__"]["content"])
        change(description)
        header["__metadata__"]["content"] = json.dumps(description)

    return _header(content, of_header)


def _tensors() -> Iterator[Case]:
    def tensor(header: dict) -> dict:
        return next(entry for name, entry in header.items() if name != "__metadata__")

    headers: dict[str, Callable[[dict], object]] = {
        "offsets that go back": lambda header: tensor(header).update(data_offsets=[8, 0]),
        "offsets beyond its end": lambda header: tensor(header).update(data_offsets=[0, 10**15]),
        "negative offsets": lambda header: tensor(header).update(data_offsets=[-8, 0]),
        "an unknown type": lambda header: tensor(header).update(dtype="F7"),
        "a shape that does not fit": lambda header: tensor(header).update(shape=[10**9, 10**9]),
        "no description": lambda header: header.pop("__metadata__"),
        "a description that is no JSON": lambda header: header["__metadata__"].update(content="{"),
        "a description that is a list": lambda header: header["__metadata__"].update(content="[1]"),
        "a description of 100,000 lists": lambda header: header["__metadata__"].update(content="[" * 100_000),
        "one tensor less": lambda header: header.pop(next(name for name in header if name != "__metadata__")),
    }
    identities: dict[str, Callable[[dict], object]] = {
        "no identity": lambda description: description.pop("identity"),
        "an identity that is a list": lambda description: description.update(identity=[1]),
        "an identity with a strange word": lambda description: description["identity"].update(colour="red"),
        "an identity with a wrong type": lambda description: description["identity"].update(seed="0"),
        "another compression's identity": lambda description: description["identity"].update(compression="distill"),
        "another seed": lambda description: description["identity"].update(seed=7),
    }
    structures: dict[str, Callable[[dict], object]] = {
        "no structure": lambda description: description.pop("structure"),
        "an unknown family": lambda description: description["structure"].update(family="mlp"),
        "no family": lambda description: description["structure"].pop("family"),
        "layers that no machine holds": lambda description: description["structure"].update(
            layers=[10**7, "M", 10**7, "M"]
        ),
        "negative layers": lambda description: description["structure"].update(layers=[-4, "M"]),
        "no layers": lambda description: description["structure"].update(layers=[]),
        "layers of words": lambda description: description["structure"].update(layers=["x", "y"]),
        "layers of lists": lambda description: description["structure"].update(layers=[[1], [2]]),
        "an input of no size": lambda description: description["structure"].update(input_size=0),
        "classes that are a word": lambda description: description["structure"].update(classes="many"),
        "an unknown word": lambda description: description["structure"].update(colour="red"),
        "a structure that is a number": lambda description: description.update(structure=3),
    }
    maps: dict[str, Callable[[dict], object]] = {
        "no sizes": lambda description: description.pop("sizes"),
        "sizes that are a list": lambda description: description.update(sizes=[]),
        "an unknown method": lambda description: description.update(methods=["saliency"]),
        "methods that are a number": lambda description: description.update(methods=3),
    }
    network, of_maps = f"models/all/{TEACHER}", f"maps/all/{TEACHER}"
    for path, changes in ((network, identities | structures), (of_maps, identities | maps)):
        for what, change in headers.items():
            spoil = changed(path, lambda content, change=change: _header(content, change))
            yield Case(f"{path}: {what}", READERS[path], spoil)
        for what, change in changes.items():
            spoil = changed(path, lambda content, change=change: _description(content, change))
            yield Case(f"{path}: {what}", READERS[path], spoil)
    huge = changed(network, lambda content: struct.pack("<Q", 2**62) + content[8:])
    yield Case(f"{network}: a header of 2^62 bytes", READERS[network], huge)
    for path, stage in ((of_maps, READERS[of_maps]), (READ_PAIRS, ("analysis",))):
        yield Case(f"{path}: of half of the data", stage, lambda root, path=path: _halve(root / path))
    other = changed(of_maps, lambda content: _description(content, identities["another seed"]))
    yield Case(f"{of_maps}: another seed than its students", ("evaluate", "--batch", "distill"), other)
    yield from _gone()


def _gone() -> Iterator[Case]:
    """Folders of networks, maps and scores that are missing."""
    for gone, stage in (
        ("models/all/teacher/vgg6_bn/seed-0", READERS[f"models/all/{TEACHER}"]),
        ("models/all/distill/half/sswa", ("roar",)),
        ("roar/all/teacher", ("analysis",)),
    ):
        spoil = lambda root, gone=gone: shutil.rmtree(root / gone)  # noqa: E731
        yield Case(f"{gone}: gone", stage, spoil)

    def no_controls(root: Path) -> None:
        for name in ("teacher", "other_images", "random"):
            shutil.rmtree(root / "roar" / "all" / name)

    yield Case("roar/all: no classifier of the teacher's", ("analysis",), no_controls)
    for stage in (("probe",), ("roar",), ("prune_channels",), ("evaluate",), ("analysis",), ("figures",)):
        folder = {
            "evaluate": "maps/all/teacher",
            "figures": "maps/all/teacher",
            "analysis": "scores/all/teacher/pairs/vgg6_bn/seed-0",
        }
        gone = folder.get(stage[0], "models/all/teacher")
        spoil = lambda root, gone=gone: shutil.rmtree(root / gone)  # noqa: E731
        yield Case(f"{gone}: missing before {stage[0]}", stage, spoil)


def _halve(path: Path) -> None:
    """Every tensor with half of its rows."""
    with safe_open(path, framework="np") as stored:
        metadata, tensors = stored.metadata(), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    halves = {name: values[: len(values) // 2].copy() for name, values in tensors.items()}
    path.unlink()
    save_file(halves, path, metadata)


def _indices() -> Iterator[Case]:
    def edited(change: Callable[[dict], object]) -> Spoil:
        def edit(content: bytes) -> bytes:
            index = json.loads(content)
            change(index)
            return json.dumps(index).encode()

        return changed("data/dataset/index.json", edit)

    changes: dict[str, Callable[[dict], object]] = {
        "a negative size": lambda index: index["records"][0].update(height=-1),
        "a size of 10^9": lambda index: index["records"][0].update(height=10**9, width=10**9),
        "a size that is a word": lambda index: index["records"][0].update(height="many"),
        "an offset elsewhere": lambda index: index["records"][1].update(image_offset=7),
        "an offset of a mask elsewhere": lambda index: index["records"][-1].update(mask_offset=10**9),
        "a class that there is not": lambda index: index["records"][0].update(labels=[99]),
        "labels that are a number": lambda index: index["records"][0].update(labels=3),
        "an unknown word": lambda index: index["records"][0].update(colour="red"),
        "no records": lambda index: index.pop("records"),
        "records that are a number": lambda index: index.update(records=3),
        "classes that are null": lambda index: index.update(classes=None),
        "one record less": lambda index: index["records"].pop(),
    }
    for what, change in changes.items():
        yield Case(f"data/dataset/index.json: {what}", ("evaluate", "--batch", "teacher"), edited(change))


def _tables() -> Iterator[Case]:
    for path in ("scores/all/teacher/results.csv", "analysis/significance.csv"):
        texts: dict[str, Callable[[bytes], bytes]] = {
            "its header alone": lambda content: content.split(b"\n")[0] + b"\n",
            "no header": lambda content: content.split(b"\n", 1)[1],
            "words for numbers": lambda content: content.replace(b",0", b",zero"),
            "a column too many": lambda content: content.replace(b"\n", b",1\n").replace(b",1\n", b"\n", 1),
            "an open quote": lambda content: content + b'"\n',
            "zero bytes": lambda content: content.replace(b",", b"\x00,", 3),
            "Latin letters that are no UTF-8": lambda content: content.replace(b"teacher", b"t\xe9acher"),
        }
        for what, change in texts.items():
            yield Case(f"{path}: {what}", ("report",), changed(path, change))
    # What figures accepts it draws, which takes its time.
    for what in ("empty", "its first half", "twice", "noise", "another text"):
        yield Case(f"{LOG}: {what}", ("figures",), changed(LOG, DAMAGE[what]))


def _of_voc(what: str, spoil: Spoil) -> Case:
    def prepare(root: Path) -> None:
        (root / "params.yaml").unlink()
        write_parameters(root, TINY | {"data.source": "voc2012", "data.root": "voc"})
        make_voc(root / "voc")
        spoil(root)

    return Case(f"a VOC folder with {what}", ("dataset",), prepare)


def _files_of_voc() -> Iterator[Case]:
    jpeg, mask, note = "voc/JPEGImages/c.jpg", "voc/SegmentationClass/c.png", "voc/Annotations/c.xml"
    pictures: dict[str, bytes] = {
        "a JPEG of 4 10^9 pixels": _jpeg_of(65_500, 65_500),
        "a JPEG of no pixels": _jpeg_of(0, 0),
        "a GIF": _picture("GIF"),
        "a TIFF": _picture("TIFF"),
        "a bitmap": _picture("BMP"),
        "a PostScript file": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        "a web page": b"<html></html>",
        "nothing in it": b"",
        "the start of a JPEG": _picture("JPEG")[:200],
    }
    for what, content in pictures.items():
        yield _of_voc(f"{what} for an image", written(jpeg, content))
    masks: dict[str, bytes] = {
        "a PNG of 10^9 pixels": _png_of(31_623, 31_623),
        "a PNG of 2^31 x 2^31 pixels": _png_of(2**31 - 1, 2**31 - 1),
        "a PNG of no pixels": _png_of(0, 0),
        "a colour picture": _picture("PNG"),
        "a picture of 16 bits": _picture("PNG", "I;16"),
        "a class that there is not": _picture("PNG", "L"),
        "a JPEG": _picture("JPEG"),
        "a PNG that ends early": _picture("PNG", "L")[:60],
        "a PNG whose text is a bomb": _png_with_text(2**27),
    }
    for what, content in masks.items():
        yield _of_voc(f"{what} for a mask", written(mask, content))
    entities = "".join(f'<!ENTITY a{k} "&a{k - 1};&a{k - 1};">' for k in range(1, 30))
    notes: dict[str, bytes | str] = {
        "entities of entities": f'<!DOCTYPE a [<!ENTITY a0 "x">{entities}]><annotation>&a29;</annotation>',
        "an entity from a file": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
        "a document type from elsewhere": '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>',
        "100,000 elements in one another": "<a>" * 100_000,
        "an unknown class": "<annotation><object><name>unicorn</name></object></annotation>",
        "a class of control letters": "<annotation><object><name>\n\n\t</name></object></annotation>",
        "an object without a name": "<annotation><object/></annotation>",
        "no object": "<annotation/>",
        "an unknown encoding": '<?xml version="1.0" encoding="martian"?><annotation/>',
        "bytes that are no text": b"<annotation>\xff\xfe</annotation>",
        "two roots": "<annotation/><annotation/>",
        "nothing in it": "",
    }
    for what, content in notes.items():
        yield _of_voc(f"an annotation with {what}", written(note, content))


def _splits_of_voc() -> Iterator[Case]:
    names: dict[str, list[str]] = {
        "that leaves the folder": ["../../params"],
        "that is absolute": ["/etc/passwd"],
        "that is a dot": ["."],
        "that is two dots": [".."],
        "with control letters": ["a\x1b[2J"],
        "with a zero byte": ["a\x00b"],
        "of 10,000 letters": ["a" * 10_000],
        "that has no image": ["nobody"],
        "that is empty": [],
        "with a space": ["my photo"],
        "with its class": ["a -1", "b 1"],
        "with its ending": ["a.jpg", "b.jpg"],
        "that is there twice": ["a", "b", "a"],
        "that is for evaluation": ["a", "b", "c"],
        "that are those of evaluation": ["c", "d"],
    }
    for what, train in names.items():
        split = lambda root, train=train: write_splits(root / "voc", train, ["c", "d"])  # noqa: E731
        yield _of_voc(f"a name in a split {what}", split)
    for part in ("train", "val"):
        yield _of_voc(f"masks of Main/{part} that are none", lambda root, part=part: _same_masks(root, part))
    yield _of_voc("a split of bytes that are no text", written("voc/ImageSets/Main/train.txt", b"\xff\xfe\x00"))
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main"):
        gone = lambda root, folder=folder: shutil.rmtree(root / "voc" / folder)  # noqa: E731
        yield _of_voc(f"no {folder}", gone)
    yield _of_voc("an image that is a link to itself", lambda root: _loop(root / "voc/JPEGImages/c.jpg"))


def _same_masks(root: Path, part: str) -> None:
    """Segmentation/val with the images of a part, whose masks are background alone."""
    names = (root / f"voc/ImageSets/Main/{part}.txt").read_text()
    written("voc/ImageSets/Segmentation/val.txt", names)(root)
    for name in names.split():
        written(f"voc/SegmentationClass/{name}.png", _background(root / f"voc/JPEGImages/{name}.jpg"))(root)


def _background(image: Path) -> bytes:
    stream = io.BytesIO()
    Image.new("L", Image.open(image).size).save(stream, "PNG")
    return stream.getvalue()


def _imagenet() -> Iterator[Case]:
    def source(what: str, spoil: Spoil, archive: bool = False) -> Case:
        def prepare(root: Path) -> None:
            (root / "params.yaml").unlink()
            given = {"data.source": "imagenet", "data.root": "given", "data.imagenet.classes": 3}
            masks = {"data.imagenet.segmentation": "given/gtsegs_ijcv.mat", "data.imagenet.devkit_checksum": None}
            write_parameters(root, TINY | given | masks)
            make_imagenet(root / "given")
            if archive:
                pack_validation(root / "given")
            spoil(root)

        return Case(f"ImageNet with {what}", ("dataset",), prepare)

    masks, image = "given/gtsegs_ijcv.mat", f"given/train/{WNIDS[0]}/{WNIDS[0]}_9.JPEG"
    images, kit = "given/ILSVRC2012_img_val.tar", "given/ILSVRC2012_devkit_t12.tar.gz"
    for path, subject in ((masks, "the file with masks"), (images, "the validation archive"), (kit, "the kit")):
        for what, change in DAMAGE.items():
            yield source(f"{subject}: {what}", changed(path, change), archive=path != masks)
        gone = lambda root, path=path: (root / path).unlink()  # noqa: E731
        yield source(f"{subject}: missing", gone, archive=path != masks)
        yield source(f"{subject}: a folder", lambda root, path=path: _folder(root / path), archive=path != masks)
    for folder in ("train", "val", f"train/{WNIDS[1]}", f"val/{WNIDS[1]}"):
        yield source(f"no {folder}", lambda root, folder=folder: shutil.rmtree(root / "given" / folder))
    names = {"line breaks": "a\nb", "control letters": "a\x1b[2J", "quotes": 'a"b', "bytes that are no text": "\udcff"}
    for what, name in names.items():
        yield source(f"a name with {what}", written(image.replace(f"{WNIDS[0]}_9", name), b"x"))
        yield source(f"a class with {what}", written(image.replace(f"/{WNIDS[0]}/", f"/{name}/"), b"x"))
    yield source("an image that is a link to itself", lambda root: _loop(root / image))
    yield source("an image that is a folder", lambda root: _folder(root / image))
    yield source("training images in val", lambda root: _linked(root / "given"))
    yield source("a class that is a link to itself", lambda root: _loop_of(root / f"given/train/{WNIDS[1]}"))


def _linked(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").symlink_to("train")


def _loop_of(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


def _archives() -> Iterator[Case]:
    inside = "VOCdevkit/VOC2012/JPEGImages/"

    def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, size
        return info

    def packed(*members: tarfile.TarInfo, mode: str = "w") -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as tar:
            for info in members:
                tar.addfile(info, io.BytesIO(bytes(info.size)))
        return stream.getvalue()

    def header(info: tarfile.TarInfo) -> bytes:
        return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)

    archives: dict[str, bytes] = {
        "a name that leaves the folder": packed(member(f"{inside}../../../../../escaped")),
        "an absolute name": packed(member("/tmp/JPEGImages/escaped")),
        "a link out of the folder": packed(member(f"{inside}a", tarfile.SYMTYPE, "../../../../../../params.yaml")),
        "an absolute link": packed(member(f"{inside}a", tarfile.SYMTYPE, "/etc/passwd")),
        "a hard link out of the folder": packed(member(f"{inside}a", tarfile.LNKTYPE, "../../params.yaml")),
        "a hard link to nothing": packed(member(f"{inside}a", tarfile.LNKTYPE, f"{inside}b")),
        "a device": packed(member(f"{inside}a", tarfile.CHRTYPE)),
        "a pipe": packed(member(f"{inside}a", tarfile.FIFOTYPE)),
        "a member that claims 32 GiB": header(member(f"{inside}a", size=2**35)),
        "an unwanted member that claims 32 GiB": header(member("other/a", size=2**35)),
        "a member that claims more than there is": header(member(f"{inside}a", size=10**6)),
        "a name with a zero byte": header(member(f"{inside}a")).replace(b"JPEGImages/a", b"JPEGImages/a\x00b")[:512],
        "a name with line breaks": packed(member(f"{inside}a\n\nerror: b")),
        "a name of 5,000 letters": packed(member(inside + "a" * 5_000)),
        "a folder in place of a file": packed(member(f"{inside}a"), member(f"{inside}a/b")),
        "nothing in it": packed(),
        "half of a header": header(member(f"{inside}a"))[:300],
        "half of a compressed stream": packed(member(f"{inside}a", size=10**5), mode="w:gz")[:60],
        "a wrong checksum in a compressed stream": packed(member(f"{inside}a"), mode="w:gz")[:-8] + bytes(8),
        "rubbish behind a gzip header": b"\x1f\x8b\x08\x00" + bytes(range(256)),
        "rubbish behind an xz header": b"\xfd7zXZ\x00" + bytes(range(256)),
        "rubbish behind a bzip2 header": b"BZh9" + bytes(range(256)),
        "a zip archive": _zip(),
        "an empty file": b"",
        "zeros": bytes(10_240),
    }
    for what, content in archives.items():

        def spoil(root: Path, content: bytes = content) -> None:
            (root / "params.yaml").unlink()
            write_parameters(root, TINY | {"data.source": "voc2012", "data.root": "voc.tar"})
            (root / "voc.tar").write_bytes(content)

        yield Case(f"an archive: {what}", ("dataset",), spoil)


def _picture(form: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((12, 20), 99, np.uint8)).convert(mode).save(stream, form)
    return stream.getvalue()


def _jpeg_of(height: int, width: int) -> bytes:
    """A JPEG that claims to be of this size."""
    content = _picture("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_of(height: int, width: int) -> bytes:
    """A PNG that claims to be of this size."""
    start = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + _chunk(b"IDAT", zlib.compress(bytes(100))) + _chunk(b"IEND", b"")


def _png_with_text(size: int) -> bytes:
    """A PNG with a compressed comment of many bytes."""
    content = _picture("PNG", "L")
    text = _chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(size)))
    return content[:33] + text + content[33:]


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("VOCdevkit/VOC2012/JPEGImages/a.jpg", b"")
    return stream.getvalue()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)
