"""A file that is given as a URL: downloaded once, resumed where it broke off, checked for what it should be."""

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import requests
from tqdm import tqdm

from gains.errors import InputError
from gains.files import put_in_place

CHUNK = 1 << 16  # bytes: what a broken connection loses at most
TIMEOUT = (10, 60)  # seconds to connect, seconds between bytes


def fetch(
    source: str | None, folder: Path, sha256: str | None = None, instead: str = "dataset.source=PATH"
) -> str | None:
    """The local path of a source: its own, or that of its download.

    Args:
        source: path, or URL that begins with http:// or https://; None stays None.
        folder: where downloads are kept; one that is there already is used again.
        sha256: checksum in hexadecimal that a download must have.
        instead: what can be given if the download fails, for messages.

    Raises:
        InputError: if the URL cannot be reached, breaks off, or gives other bytes than it should.
    """
    if source is None or not source.startswith(("http://", "https://")):
        return source
    path = folder / file_name(source)
    if path.is_file():
        print(f"{source} is already downloaded: {path}")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        try:
            download(source, partial, instead)
        except requests.RequestException as error:
            resumable = partial.is_file() and _validator(partial).is_file()
            kept = f" {partial.stat().st_size} bytes are kept and resumed next time." if resumable else ""
            reason = type(error).__name__
            raise InputError(
                f"{source} could not be downloaded ({reason}).{kept} "
                f"A copy on this machine can be given instead: {instead}"
            ) from None
        _check(partial, source, sha256)
        put_in_place(partial, path)
        _validator(partial).unlink(missing_ok=True)
        return str(path)
    _check(path, source, sha256)
    return str(path)


def file_name(url: str) -> str:
    """Name of a download: that in the URL, behind a hash of the whole URL, since names repeat."""
    name = PurePosixPath(urlparse(url).path).name or "download"
    return f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"


def download(url: str, partial: Path, instead: str) -> None:
    """Download into ``partial``, going on where an earlier attempt stopped if the server's file is still the same.

    Raises:
        InputError: for a refusal by the server, or a file that ends before the announced size.
        requests.RequestException: if the connection fails; what has arrived stays.
    """
    have = partial.stat().st_size if partial.is_file() else 0
    known = _validator(partial).read_text() if have and _validator(partial).is_file() else None
    # If-Range makes the server send the whole file where it has changed; without a validator nothing can be resumed.
    headers = {"Range": f"bytes={have}-", "If-Range": known} if known else {}
    with requests.get(url, headers=headers | {"Accept-Encoding": "identity"}, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            partial.unlink()
            return download(url, partial, instead)
        if not answer.ok:
            raise InputError(
                f"{url} answered {answer.status_code} {answer.reason}; correct the address, "
                f"or give a copy on this machine: {instead}"
            )
        resumed = answer.status_code == requests.codes.partial_content
        if resumed and not _continues(answer, have, known):
            # Another part than was asked for, or of another file: what is here cannot be joined with it.
            partial.unlink()
            _validator(partial).unlink()
            raise requests.ConnectionError("the server sent another part of the file, or of another file")
        have = have if resumed else 0
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if validator and not validator.startswith("W/"):
            _validator(partial).write_text(validator)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        _receive(answer, partial, have, total)
    size = partial.stat().st_size
    if total is not None and size != total:
        raise requests.ConnectionError(f"{size} of {total} bytes arrived")
    return None


def _continues(answer: requests.Response, have: int, known: str | None) -> bool:
    """Whether a partial answer begins where the file here ends, and is of the same version of the file."""
    place = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return place == str(have) and version in (known, None)


def _receive(answer: requests.Response, partial: Path, have: int, total: int | None) -> None:
    """Write the body behind the first ``have`` bytes, with a progress bar."""
    with (
        partial.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="download", leave=False) as progress,
    ):
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            progress.update(len(chunk))


def _validator(partial: Path) -> Path:
    """Where the server's mark of this version of the file is kept, for resuming."""
    return partial.with_name(partial.name + ".etag")


def _check(path: Path, url: str, sha256: str | None) -> None:
    """Compare the checksum; a file that fails is removed.

    Raises:
        InputError: if it differs.
    """
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        path.unlink()
        raise InputError(f"{url} gave a file with sha256 {found}, not {sha256.lower()}; it was deleted")
