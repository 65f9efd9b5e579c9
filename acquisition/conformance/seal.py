"""Seal a report, so that a reader sees whether it was changed since and who vouches for it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bci.errors import ConfigError, DataError, PluginError


def canonical(report: Mapping[str, Any]) -> bytes:
    """Return the bytes that are sealed: JSON without the seal, keys sorted, no blanks, UTF-8."""
    bare = {key: value for key, value in report.items() if key != "seal"}
    return json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def make_key(path: Path) -> str:
    """Write a new private key to `path` and the public one beside it (``.pub``); return the public one in base64.

    Raises
    ------
    ConfigError
        If the file exists: a key is never replaced.
    PluginError
        If the package cryptography is not here.
    """
    serialization, ed25519, _ = _cryptography()
    key = ed25519.Ed25519PrivateKey.generate()
    public_file = public_path(path)
    if public_file.exists():
        raise ConfigError(f"expected a new file for the public key, {public_file} exists; choose another name")
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"expected a new file for the key, {path} exists; choose another name") from error
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    with public_file.open("x", encoding="ascii") as file_of_public:
        file_of_public.write(public + "\n")
    return public


def public_path(path: Path) -> Path:
    """Return where the public key of the private key in `path` goes: maker.pem and maker.pub, maker and maker.pub."""
    if path.suffix == ".pub":
        raise ConfigError(f"a name that ends in .pub is that of the public key, got {path}; name the secret one")
    return path.with_suffix(".pub") if path.suffix in (".pem", ".key") else path.with_name(f"{path.name}.pub")


def read_public_key(path: Path) -> str:
    """Return the public key in a file; `ConfigError`, which shows nothing of the file, if it holds something else."""
    try:
        text = path.read_text(encoding="ascii").strip()
        is_key = len(base64.b64decode(text, validate=True)) == 32  # RFC 8032, sec. 5.1.5
    except (OSError, ValueError) as error:  # binascii's and Unicode's errors are ValueErrors
        reason = error.strerror if isinstance(error, OSError) else "it holds something else"
        raise ConfigError(f"expected a public key (.pub of bci device key) in {path}: {reason}") from None
    if not is_key:
        raise ConfigError(f"expected a public key of 32 bytes in {path}, got another length; use bci device key")
    return text


def seal(report: Mapping[str, Any], key: Path | None = None) -> dict[str, Any]:
    """Return the report with its SHA-256 and, with the private key in the file `key`, an Ed25519 signature [1]_.

    Raises
    ------
    ConfigError
        If `key` is not such a file.
    PluginError
        If `key` is given and the package cryptography is not here.

    References
    ----------
    .. [1] S. Josefsson, I. Liusvaara. Edwards-Curve Digital Signature Algorithm (EdDSA). RFC 8032, 2017.
    """
    content = canonical(report)
    sealed: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest(), "signed": False}
    if key is not None:
        serialization, ed25519, _ = _cryptography()
        try:
            private = serialization.load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"expected a private key in {key}: {error}; make one with bci device key") from error
        if not isinstance(private, ed25519.Ed25519PrivateKey):
            raise ConfigError(f"expected an Ed25519 key in {key}, got {type(private).__name__}; use bci device key")
        sealed |= {
            "signed": True,
            "algorithm": "Ed25519",
            "public_key": base64.b64encode(private.public_key().public_bytes_raw()).decode(),
            "signature": base64.b64encode(private.sign(content)).decode(),
        }
    return {**report, "seal": sealed}


def verify(report: Mapping[str, Any], public_key: str = "") -> str:
    """Return in a sentence who vouches for a report that is as it was sealed.

    Parameters
    ----------
    report : mapping
        With its seal.
    public_key : str
        The maker's public key in base64; the one in the report if not given.

    Raises
    ------
    DataError
        If the report was changed, is not sealed, or is not signed by `public_key`.
    PluginError
        If it is signed and the package cryptography is not here.
    """
    sealed = report.get("seal")
    if not isinstance(sealed, Mapping) or "sha256" not in sealed:
        raise DataError("expected a report with a seal, got none; make it with bci device check")
    content = canonical(report)
    digest = hashlib.sha256(content).hexdigest()
    if digest != sealed["sha256"]:
        raise DataError(f"expected SHA-256 {sealed['sha256']}, got {digest}: the report was changed; do not trust it")
    if not sealed.get("signed"):
        if public_key:
            raise DataError("expected a report signed by this key, it is unsigned; ask its maker for a signed one")
        return f"unsigned; unchanged since it was made, unless the hash was changed too (SHA-256 {digest})"
    own = str(sealed.get("public_key", ""))
    if public_key and own != public_key.strip():
        raise DataError(f"expected a report signed by {public_key.strip()}, it is signed by {own}; ask its maker")
    _, ed25519, invalid = _cryptography()
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(own, validate=True))
        public.verify(base64.b64decode(str(sealed.get("signature", "")), validate=True), content)
    except (invalid, ValueError, binascii.Error) as error:
        raise DataError(f"the signature does not fit the report and the key {own}; do not trust it") from error
    known = "the key you gave" if public_key else "the key in the report; compare it with the one its maker publishes"
    return f"signed by {own} ({known})"


def _cryptography() -> tuple[Any, Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise PluginError(
            "signatures need the package cryptography, which is not here; pip install 'bci[sign]'"
        ) from error
    return serialization, ed25519, InvalidSignature
