"""A bucket on loopback (moto's S3 over HTTP) whose server fails a share of all requests with 500 or 503."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MissingExtraError

_BUCKET = "readings"
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
_BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>planted</Message></Error>"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def failing(application: Application, share: float, seed: int) -> Application:
    """`application`, but for a share of its requests."""
    rng, lock = random.Random(seed), threading.Lock()

    def answer(environ: dict[str, Any], begin: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            fails, status = rng.random() < share, rng.choice(("500 Internal Server Error", "503 Slow Down"))
        if not fails:
            return application(environ, begin)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        begin(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(_BODY)))])
        return [_BODY]

    return answer


@contextmanager
def bucket(share: float, seed: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the URL of an empty bucket, and the environment of a process that uses it.

    Raises:
        MissingExtraError: moto or s3fs is not installed.
    """
    try:
        import boto3
        import s3fs  # noqa: F401
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server
    except ImportError as err:
        install = "pip install 'nla_eval[dev,s3]'"
        raise MissingExtraError("a bucket that fails", str(err.name), install) from err

    class Quiet(WSGIRequestHandler):
        """Prints no line for each request."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    application = failing(DomainDispatcherApplication(create_backend_app), share, seed)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {**_KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    try:
        boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        ).create_bucket(Bucket=_BUCKET)
        yield f"s3://{_BUCKET}", environment
    finally:
        server.shutdown()
        thread.join()
