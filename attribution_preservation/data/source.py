"""Record of a data source, and the section `data` of params.yaml, which selects a source."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, create_model, model_validator

from attribution_preservation.data.store_writer import pack
from attribution_preservation.data.voc import VOCDirectory
from attribution_preservation.entries import Entry, load, missing_line
from attribution_preservation.process.progress import Progress
from attribution_preservation.settings import Section
from attribution_preservation.storage.files import atomic_directory

Checksum = Annotated[str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]
# Number of images, each in its own file; ImageNet has 1.3 million.
Files = Annotated[int, Field(gt=0, le=10**6)]


class Data(Section):
    """Source of images, labels and masks.

    Attributes:
        source: name of the data source.
        root: folder or archive of the user; null if the source downloads or generates its files.
        checksum: `md5:...` or `sha256:...` of the archive at `root`, or null to skip verification.
    """

    source: str
    root: str | None
    checksum: Checksum | None

    @model_validator(mode="before")
    @classmethod
    def _is_listed(cls, values: Any) -> Any:
        # For a source that has a file but is not in the list, "unknown parameter" would be misleading.
        if isinstance(values, Mapping):
            for name in values:
                if name not in cls.model_fields and (reason := missing_line(DataSource, name)):
                    raise ValueError(reason)
        return values

    @model_validator(mode="after")
    def _has_its_settings(self) -> Self:
        if self.source in type(self).model_fields and self.settings is None:
            raise ValueError(f"{self.source}: the settings of the chosen source are missing")
        return self

    @property
    def settings(self) -> Any:
        """The settings of the selected source; None if it has none."""
        return getattr(self, self.source, None)


def uncounted(data: Data) -> int | None:
    """Return None: the number of images is known only after packing."""
    return None


@dataclass(frozen=True)
class DataSource(Entry):
    """One source of images, labels and masks.

    Attributes:
        name: its word in params.yaml.
        title: its name in texts for readers.
        pack: function of the section, a folder for intermediate files, and the output. It gets the files, writes the
            packed data set and returns the sentence that the stage prints.
        settings: class of the settings under the section's key with the source's name; None if the source has none.
        training_images: function of the section. It returns the number of training images, or None if it is known only
            after packing.
        exclusive: whether the classes exclude each other, so that an image has one label.
    """

    noun: ClassVar = "data source"
    list_module: ClassVar = "sources"
    name: str
    title: str
    pack: Callable[[Any, Path, Path], str]
    settings: type[Section] | None = None
    training_images: Callable[[Any], int | None] = uncounted
    exclusive: bool = False


def data_section(sources: Iterable[DataSource]) -> type[Data]:
    """The section `data` with the settings of some sources. Settings of sources that are not selected are optional."""
    settings = {source.name: (source.settings | None, None) for source in sources if source.settings}
    return create_model("Data", __base__=Data, __doc__=Data.__doc__, **settings)


def named_sources(values: Mapping[str, Any]) -> list[DataSource]:
    """The sources whose settings the section has."""
    named = (load(DataSource, name) for name in values)
    return [source for source in named if source is not None]


def pack_voc(directory: VOCDirectory, out: Path) -> str:
    """Pack a data set in VOC's layout, and return the sentence for the user."""
    progress, notes = Progress(0, "packing"), list[str]()
    with atomic_directory(out) as partial:
        count = pack(directory, partial, lambda: progress.advance(1), notes.append)
    progress.close()
    return ". ".join([f"{count} images of {len(directory.classes)} classes in {out}", *notes])
