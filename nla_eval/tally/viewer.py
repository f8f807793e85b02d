"""Addresses of a running `inspect view`: where a sample of a log is shown.

The viewer's pages are `#/logs/LOG/samples/sample/ID/EPOCH/`, where LOG is the path of the log below the folder that it
runs on. A report holds plain links to them: nothing is fetched, and nothing leaves before a click."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from ..errors import InputError
from ..printable import one_line
from .browsed import LoggedSample

_EXPECTED = "the address that inspect view prints, for example http://127.0.0.1:7575"
_KEPT = "/%:@!$&'()*+,;=~-._"
"""Characters of a path that stay as they are."""


def viewer_address(given: str) -> str:
    """The address of a viewer, without a slash at its end.

    Raises:
        InputError: It is no http or https address; it names a user or password, which a report would pass on; or it
            has a query or fragment, which would take the place of the sample's.
    """
    shown = one_line(given)
    try:
        parts = urlsplit(given.strip())
        port, host = parts.port, _host(parts.hostname or "")
    except ValueError:
        raise InputError(f"view-url is '{shown.rpartition('@')[2]}', which is no address; give {_EXPECTED}") from None
    if parts.username is not None or parts.password is not None:
        raise InputError("view-url holds a user name or password, which readers of the report would see; leave it out")
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"view-url is '{shown}', which is no http or https address; give {_EXPECTED}")
    if parts.query or parts.fragment:
        raise InputError(f"view-url is '{shown}'; leave out what follows ? or #: {_EXPECTED}")
    where = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{where}{quote(parts.path, safe=_KEPT, errors='replace')}".rstrip("/")


def _host(name: str) -> str:
    """A host in ASCII, an IPv6 address in brackets. Raises ValueError if it is no name and no address."""
    if not all(c.isalnum() or c in ".-_:" for c in name):
        raise ValueError(name)
    return f"[{name}]" if ":" in name else name.encode("idna").decode("ascii")


def sample_address(viewer: str, sample: LoggedSample) -> str:
    """Where a viewer shows a sample.

    Args:
        viewer: From `viewer_address`.
        sample: A sample of a log in the folder that the viewer runs on.
    """
    path = "/".join(quote(part, safe="", errors="replace") for part in sample.log.split("/"))
    return f"{viewer}/#/logs/{path}/samples/sample/{quote(sample.id, safe='', errors='replace')}/{sample.epoch}/"
