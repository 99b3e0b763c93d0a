"""The word by which clients are known to a server."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ConfigError

SHORTEST = 16  # characters of a token


def read_token(path: Path) -> str:
    """The token in the first line of a file.

    Raises:
        ConfigError: the file cannot be read, or its token is too short.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the token cannot be read") from error
    token = lines[0].strip() if lines else ""
    if len(token) < SHORTEST or not token.isascii():
        raise ConfigError(f"{path}: the token must be {SHORTEST} letters and digits or more")
    return token
