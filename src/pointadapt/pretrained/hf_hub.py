"""What is on the Hugging Face Hub: where a file is, and which files a repository has.

The Hub's client knows addresses, tokens and what its answers mean. The files themselves come by
:mod:`pointadapt.pretrained.download`, which keeps to our timeouts and shows our bar.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..core.errors import FetchError, first_line
from ..core.foreign_text import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_HUB = re.compile("hf:/.*", re.DOTALL)
_REPOSITORY = re.compile(r"hf:/{1,2}(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w.-]*))?")  # a Path has one slash
_SHA256, COMMIT = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class NoAnswerError(FetchError):
    """The Hub did not answer, or not with anything that can be used; later it may."""


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub: "owner/name", at a revision."""

    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hf://{self.name}{'' if self.revision == 'main' else '@' + self.revision}"


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit: path of a file -> (bytes, sha256 or "")."""

    commit: str
    files: dict[str, tuple[int, str]]


def repository_of(place: Path | str) -> Repository | None:
    """The repository that an address names; None if ``place`` is a place on this machine.

    Args:
        place: "hf://owner/name" or "hf://owner/name@revision", also as a path.

    Raises:
        FetchError: it is an address of the Hub, but of no repository.
    """
    text = Path(place).as_posix()
    if not _HUB.fullmatch(text):
        return None
    found = _REPOSITORY.fullmatch(text)
    if found is None or ".." in text:
        raise FetchError(f"{one_line(place)} is no address of an adapter: write hf://owner/name")
    return Repository(found[1], found[2] or "main")


def client() -> HfApi:
    """The Hub's client, for the Hub or its mirror, with the user's token if there is one."""
    from huggingface_hub import HfApi

    from ..core.version import __version__

    return HfApi(
        endpoint=os.environ.get("HF_ENDPOINT"), library_name="pointadapt",
        library_version=__version__,
    )  # fmt: skip


def listing(of: Repository, timeout: float) -> Listing:
    """What a repository holds now.

    Raises:
        FetchError: no such repository, or none that this user may read.
        NoAnswerError: no answer that can be used.
    """
    with answers(str(of)):
        info = client().model_info(
            of.name, revision=of.revision, timeout=timeout, files_metadata=True
        )
        files = {
            file.rfilename: (int(file.size or 0), _stated(file.lfs.sha256 if file.lfs else ""))
            for file in info.siblings or ()
        }
        if not COMMIT.fullmatch(info.sha or ""):
            raise NoAnswerError(f"{of}: the Hub states no commit")
    return Listing(str(info.sha), files)


def locate(address: str, timeout: float) -> tuple[str, str, str]:
    """(URL, sha256 or "", token or "") of a file on the Hugging Face Hub, or its mirror.

    Args:
        address: "hf://owner/repository/file" or "hf://owner/repository@revision/file".
        timeout: seconds to wait for the Hub's answer.

    Raises:
        FetchError: no such address, or nothing there that this user may read.
    """
    import huggingface_hub as hub

    owner, repository, path = _parts(address)
    repository, _, revision = repository.partition("@")
    url, stated = "", ""
    try:
        with answers(address):
            url = url_of(f"{owner}/{repository}", path, revision or None)
            stated = hub.get_hf_file_metadata(url, timeout=timeout).etag or ""
    except NoAnswerError:
        if not url:
            raise
        # A bad line: the download tries again, and says what is wrong.
    # The ETag of a large file on the Hub is its sha256.
    return url, _stated(stated), hub.get_token() or ""


def url_of(repository: str, path: str, revision: str | None) -> str:
    """Where a file of a repository can be downloaded."""
    from huggingface_hub import hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT")
    return hf_hub_url(repository, path, revision=revision, endpoint=endpoint)


@contextmanager
def answers(address: str) -> Iterator[None]:
    """What the Hub's client raises inside the block, in one line that names ``address``.

    Raises:
        FetchError: there is no such thing, or none that this user may read or write.
        NoAnswerError: anything else.
    """
    from huggingface_hub import errors

    lasting = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError,
               errors.EntryNotFoundError, errors.HFValidationError)  # fmt: skip
    try:
        yield
    except FetchError:
        raise
    except lasting as error:
        why = one_line(first_line(error)).rstrip(". ")
        raise FetchError(
            f"{address} is not there ({why}), or is private or gated: then get access on its page "
            "and log in with 'hf auth login'"
        ) from error
    except Exception as error:  # the errors of its HTTP library differ by version
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = one_line(first_line(error))
        if status in (401, 403):
            raise FetchError(
                f"{address}: the Hub refuses this ({why}): set HF_TOKEN to a token that may do it, "
                "or log in with 'hf auth login'"
            ) from error
        if status is None:
            why = f"no answer from {_host()} ({_ERRNO.sub('', why)})"
        raise NoAnswerError(f"{address}: {why}") from error


def _host() -> str:
    """The Hub, or its mirror that the environment names."""
    return urlsplit(os.environ.get("HF_ENDPOINT", "")).hostname or "huggingface.co"


def _stated(sha256: str) -> str:
    return sha256 if _SHA256.fullmatch(sha256) else ""


def _parts(address: str) -> tuple[str, str, str]:
    owner, _, rest = address.removeprefix("hf://").partition("/")
    repository, _, path = rest.partition("/")
    if not (owner and repository and path):
        raise FetchError(f"{address} is no address of a file: write hf://owner/repository/file")
    return owner, repository, path
