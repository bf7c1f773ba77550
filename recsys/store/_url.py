"""URLs of stores as people may see them."""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(r":(?!//).*@", re.DOTALL)
_USER: Final = re.compile(r"://\S*@")
_SECRET: Final = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)


def redacted(url: str) -> str:
    """The URL without passwords, for messages, logs and reports.

    >>> redacted("postgresql://ada:s3cret@db.example.org/music?sslmode=require")
    'postgresql://ada:***@db.example.org/music?sslmode=require'
    >>> redacted("rediss://:s3:cr@t/@cache:6380/0"), redacted("sqlite:////srv/store?shards=2")
    ('rediss://:***@cache:6380/0', 'sqlite:////srv/store?shards=2')
    >>> redacted("postgresql://ada@db/music"), redacted("ada:s3cret@db/music")
    ('postgresql://ada@db/music', 'ada:***@db/music')
    >>> redacted("postgresql:///music?host=db&user=ada&password=s3cret")
    'postgresql:///music?host=db&user=ada&password=***'
    """
    return _SECRET.sub(r"\1***", _CREDENTIALS.sub(":***@", url))


def without_credentials(text: str) -> str:
    """A text that URLs may be in, without the users and passwords of any.

    >>> without_credentials("ApiError: request to http://ada:s3cret@ml/api failed: (host='ml')")
    "ApiError: request to http://***@ml/api failed: (host='ml')"
    >>> without_credentials("postgresql:///music?user=ada&password=s3cret")
    'postgresql:///music?user=ada&password=***'
    """
    return _SECRET.sub(r"\1***", _USER.sub("://***@", text))
