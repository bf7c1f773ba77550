"""A certificate for servers on loopback."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

NEEDS_OPENSSL: Final = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificate"
)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Files with a key, and its certificate for ``localhost``."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate
