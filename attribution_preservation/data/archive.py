"""Downloads archives with resumption after a broken connection, verifies them, and unpacks them safely."""

import http.client
import lzma
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from attribution_preservation.errors import UserError
from attribution_preservation.process.progress import Progress
from attribution_preservation.storage.files import digest

VOC2012_URL = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
VOC2012_CHECKSUM = "md5:6cd6e144f989b92b3379bac3b3de84fd"
VOC_FOLDERS = ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets")
# VOC 2012 unpacks to 2 GB in 56,000 files; more than eight times that is a mistake or an attack.
MAXIMUM_BYTES, MAXIMUM_FILES = 16 * 2**30, 500_000
_CHUNK = 1 << 20


def download(url: str, path: Path, checksum: str | None, parameter: str = "data.root") -> None:
    """Download a file, resuming an earlier attempt.

    A partial download is in a file with the name of `path` and the suffix `.partial`. An existing file is only
    verified.

    Args:
        url: source address.
        path: target file.
        checksum: see `verify`; None if the publisher gives none, and any file is accepted. A partial download could
            then belong to another file, so every attempt starts from the beginning.
        parameter: key of params.yaml that can name an existing file.

    Raises:
        UserError: the server does not answer or answers with an error, or the file is not the expected one.
    """
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        if checksum is None:
            partial.unlink(missing_ok=True)
        try:
            _fetch(url, partial)
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise UserError(f"{url}: {error}; run the same command again, or point {parameter} at the file") from None
        if checksum is not None:
            verify(partial, checksum)
        partial.replace(path)
    if checksum is not None:
        verify(path, checksum)


def verify(path: Path, checksum: str) -> None:
    """Compare a file with `md5:...` or `sha256:...`.

    Raises:
        UserError: they differ.
    """
    algorithm, expected = checksum.split(":")
    if (actual := digest(path, algorithm)) != expected:
        raise UserError(f"{path}: {algorithm} is {actual}, expected {expected}; delete the file and fetch it again")


def unpack(archive: Path, target: Path, on_file: Callable[[], None] = lambda: None) -> None:
    """Unpack the VOC folders of a tar archive (plain or compressed) into an existing folder.

    Members that would leave `target`, links out of it and devices are refused by tarfile's `data` filter.

    Args:
        archive: the file.
        target: the folder.
        on_file: called for each file that is unpacked.

    Raises:
        UserError: the archive is missing, truncated, not a tar archive, unsafe or too large.
    """
    total = files = 0

    def wanted(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        nonlocal total, files
        # Unwanted members are decompressed too, so they count.
        total, files = total + member.size, files + 1
        if total > MAXIMUM_BYTES or files > MAXIMUM_FILES:
            raise UserError(f"{archive}: unpacks to more than {MAXIMUM_BYTES} bytes or {MAXIMUM_FILES} files; refused")
        safe = tarfile.data_filter(member, destination)
        if not set(PurePosixPath(member.name).parts) & set(VOC_FOLDERS):
            return None
        on_file()
        return safe

    try:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter=wanted)
            while chunk := tar.fileobj.read(_CHUNK):  # to the end of a compressed stream, where its checksum is
                total += len(chunk)
                if total > MAXIMUM_BYTES:
                    raise UserError(f"{archive}: goes on for more than {MAXIMUM_BYTES} bytes; refused")
    except FileNotFoundError:
        raise UserError(f"{archive} is missing; check data.root") from None
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is not safe to unpack: {error}") from None
    # ValueError, KeyError: a name with a zero byte, a link to a member that does not exist.
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise UserError(f"{archive} is truncated or no tar archive ({error}); fetch it again") from None


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the download is complete; the checksum decides
        raise
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        progress = Progress(have + int(length) if length else 0, f"download {partial.stem}", unit="B")
        progress.advance(have)
        with partial.open("ab" if resumed else "wb") as stream:
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                progress.advance(len(chunk))
        progress.close()
        if length and partial.stat().st_size < have + int(length):
            raise ConnectionError("the connection broke off")
