"""Certificates for tests, and servers and clients that use them."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from support.client import SecureAddress
from support.server import Server
from support.serving import Serve

#: The name that test certificates are for.
HOST = "test.example"


class Pair:
    """A certificate with its key, in files."""

    def __init__(self, folder: Path, name: str, made: trustme.LeafCert) -> None:
        self.certfile = folder / f"{name}.crt"
        self.keyfile = folder / f"{name}.key"
        self.chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        self.key = made.private_key_pem.bytes()
        self.certfile.write_bytes(self.chain)
        self.keyfile.write_bytes(self.key)

    @property
    def flags(self) -> list[str]:
        """For the command line."""
        return ["--certfile", str(self.certfile), "--keyfile", str(self.keyfile)]

    @property
    def der(self) -> bytes:
        """The certificate itself."""
        return ssl.PEM_cert_to_DER_cert(
            self.chain.decode().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
        )

    def key_in(self, form: PrivateFormat, password: str | None = None) -> bytes:
        """The key in another form, PEM."""
        key = load_pem_private_key(self.key, None)
        sealed = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return key.private_bytes(Encoding.PEM, form, sealed)


class Authority:
    """Makes certificates, and clients that trust them."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self.ca.cert_pem.write_to_path(str(self.file))

    def pair(self, name: str, *hosts: str, **options: Any) -> Pair:
        """A certificate for these hosts."""
        return Pair(self.folder, name, self.ca.issue_cert(*(hosts or (HOST,)), **options))

    def context(self, client: Pair | None = None) -> ssl.SSLContext:
        """A client's context, with a certificate of its own if there is one."""
        context = ssl.create_default_context(cafile=str(self.file))
        if client is not None:
            context.load_cert_chain(client.certfile, client.keyfile)
        return context

    def serve(
        self,
        serve: Serve,
        app: str,
        pair: Pair,
        *options: str,
        context: ssl.SSLContext | None = None,
        flags: Sequence[str] | None = None,
        **rest: Any,
    ) -> Server:
        """A server with this certificate; its address speaks TLS."""
        context = context or self.context()
        return serve(
            app,
            *(pair.flags if flags is None else flags),
            *options,
            secure=lambda address: SecureAddress.of(address, context, HOST),
            **rest,
        )
