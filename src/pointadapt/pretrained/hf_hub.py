"""Where a file of the Hugging Face Hub is: ``hf://owner/repository/file``."""

from __future__ import annotations

import os
import re

from ..core.errors import FetchError, first_line
from ..core.foreign_text import one_line


def locate(address: str, timeout: float) -> tuple[str, str, str]:
    """(URL, sha256 or "", token or "") of a file on the Hugging Face Hub, or its mirror.

    The Hub's client knows addresses, tokens and what its answers mean. The file itself comes by
    :mod:`pointadapt.pretrained.download`, which keeps to our timeouts and shows our bar.

    Args:
        address: "hf://owner/repository/file" or "hf://owner/repository@revision/file".
        timeout: seconds to wait for the Hub's answer.

    Raises:
        FetchError: no such address, or nothing there that this user may read.
    """
    owner, repository, path = _parts(address)
    repository, _, revision = repository.partition("@")
    import huggingface_hub as hub
    from huggingface_hub import errors

    lasting = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError,
               errors.EntryNotFoundError, errors.HFValidationError)  # fmt: skip
    url, stated = "", ""
    try:
        url = hub.hf_hub_url(
            f"{owner}/{repository}", path, revision=revision or None,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )  # fmt: skip
        stated = hub.get_hf_file_metadata(url, timeout=timeout).etag or ""
    except lasting as error:
        why = one_line(first_line(error)).rstrip(". ")
        raise FetchError(
            f"{address} is not there ({why}), or is private or gated: then get access on its page "
            "and log in with 'hf auth login'"
        ) from error
    except Exception as error:  # the errors of its HTTP library differ by version
        if not url:
            raise FetchError(f"{address}: {one_line(first_line(error))}") from error
        # A bad line: the download tries again, and says what is wrong.
    # The ETag of a large file on the Hub is its sha256.
    return url, stated if re.fullmatch("[0-9a-f]{64}", stated) else "", hub.get_token() or ""


def _parts(address: str) -> tuple[str, str, str]:
    owner, _, rest = address.removeprefix("hf://").partition("/")
    repository, _, path = rest.partition("/")
    if not (owner and repository and path):
        raise FetchError(f"{address} is no address of a file: write hf://owner/repository/file")
    return owner, repository, path
