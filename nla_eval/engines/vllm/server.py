"""Explanations drawn by one or several vLLM servers (`/v1/completions` with `prompt_embeds`). Capture and reconstruct
run on the local transformers engine.

A request has the whole prompt as embeddings. Draws return as token ids and are decoded here. Greedy draws in fp32 equal
those of the transformers engine. Sampled draws are functions of key and seed too, but differ from that engine's."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any

import httpx
import torch
from pydantic import Field

from ...errors import InputError
from ...models.pack import Pack
from ...models.prompts import CLOSE_TAG
from ...models.target import Target
from ..base import Draw, Sampling, VerbalizeRequest
from ..config import EngineConfig
from ..hf import TransformersEngine
from .dispatch import Dispatch, Parcel, Patience, ServerError, Unavailable
from .options import engine_words, options_as
from .prompt import PromptEmbeddings, draw_seed, failed_draw, finished_draw, parted, stop_tokens

KEY_VARIABLE = "VLLM_API_KEY"
"""vLLM's own environment variable. If set, its value is sent as the bearer token."""
_BUSY = frozenset({408, 425, 429, 502, 503, 504})
_CHECK_SECONDS = 10.0
_PLAIN_SAMPLING = {
    "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}  # fmt: skip
"""Sent with every request, because a server otherwise takes defaults from the model's generation_config.json."""

Send = Callable[[str, Sequence[VerbalizeRequest]], Awaitable[list[Draw]]]


@dataclass(frozen=True)
class ServerConfig:
    """The servers that draw explanations, and limits on requests to them."""

    urls: tuple[str, ...]
    """Base addresses of the servers, which share the load. "/v1" at the end is optional."""
    model: str | None = None
    """Name of the served AV; None takes the only served model."""
    concurrency: Annotated[int, Field(ge=1)] = 32
    """Largest number of requests in flight per server."""
    rows_per_request: Annotated[int, Field(ge=1)] = 8
    """Greedy draws per request. A sampled draw is sent alone, because a server uses one seed for all prompts of a
    request."""
    timeout: Annotated[float, Field(gt=0)] = 300.0
    """Time limit of one request in seconds."""
    retries: Annotated[int, Field(ge=0)] = 8
    """A server is given up after more than this many failures in a row. With the defaults, waits add up to a minute and
    a half."""
    backoff: Annotated[float, Field(ge=0)] = 0.5
    """Seconds before a failed server is retried; doubles with each failure in a row, up to 30."""

    def __post_init__(self) -> None:
        bare = tuple(url.rstrip("/").removesuffix("/v1") for url in self.urls)
        wrong = next((url for url in bare if not url.startswith(("http://", "https://"))), None)
        if wrong is not None or not bare:
            raise InputError(
                f"'{wrong or ''}' is no server address; expected vllm-server:http://HOST:PORT[,http://HOST:PORT...]"
            )
        object.__setattr__(self, "urls", tuple(dict.fromkeys(bare)))


def server_config(engine: str) -> ServerConfig:
    """Parse the config in `vllm-server:URL[,URL...][,option=value...]`. Raises InputError."""
    urls, options = engine_words(engine)
    return options_as(ServerConfig, "vllm-server", {"urls": tuple(urls), **options})


class VllmServerEngine(TransformersEngine):
    """Implements `engines.base.Engine`. Only `verbalize` differs from `TransformersEngine`.

    Args:
        target: The model whose activations are read.
        pack: Its NLA pack.
        servers: The servers of its AV.
        config: Settings for capture and reconstruct. Embeddings are sent in its dtype.

    Raises:
        PackError: The pack does not belong to the target, or states no injection scale.
    """

    def __init__(self, target: Target, pack: Pack, servers: ServerConfig, config: EngineConfig | None = None) -> None:
        super().__init__(target, pack, config)
        self.servers = servers

    @cached_property
    def _embeddings(self) -> PromptEmbeddings:
        return PromptEmbeddings(self.target, self.pack, self.prompt, self.config.dtype)

    @cached_property
    def _stop_tokens(self) -> list[int]:
        return stop_tokens(self.target, self.pack)

    @cached_property
    def model_name(self) -> str:
        """Name of the served AV. Asks all servers; at least one must answer.

        Raises:
            ServerError: No server answers, or a server serves another model.
        """
        silent: list[str] = []
        named: dict[str, str] = {}
        with httpx.Client(headers=_headers(), timeout=_CHECK_SECONDS) as client:
            for url in self.servers.urls:
                try:
                    named[url] = _served(client, url, self.servers.model)
                except httpx.HTTPError as err:
                    silent.append(f"{url} ({_told(err)})")
        if not named:
            raise ServerError(
                f"no vLLM server answers: {'; '.join(silent)}. Start one with --enable-prompt-embeds, or correct the "
                "addresses behind 'vllm-server:'"
            )
        if len(set(named.values())) > 1:
            found = ", ".join(f"{url} serves '{name}'" for url, name in named.items())
            raise ServerError(
                f"the servers do not serve the same model: {found}; start all with one --served-model-name"
            )
        return next(iter(named.values()))

    def verbalize(self, requests: Sequence[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        """Yield one draw per request, as servers finish them.

        Raises:
            ServerError: No server is left, or a server refuses requests. Raised after all finished draws were yielded.
        """
        sound, broken = parted(requests)
        yield from broken
        if not sound:
            return
        size = self.servers.rows_per_request if sampling.temperature <= 0 else 1
        parcels = [Parcel(sound[i : i + size]) for i in range(0, len(sound), size)]
        servers = self.servers
        dispatch: Dispatch[VerbalizeRequest, Draw] = Dispatch(
            servers.urls,
            partial(self._session, sampling),
            failed_draw,
            VerbalizeRequest("probe", None),
            servers.concurrency,
            Patience(servers.retries, servers.backoff),
        )
        yield from dispatch.run(parcels)

    def _common(self, sampling: Sampling) -> dict[str, Any]:
        """The fields that all requests of one call share."""
        return {
            "model": self.model_name,
            "max_tokens": sampling.max_new_tokens,
            "stop": [CLOSE_TAG],
            "include_stop_str_in_output": True,
            "stop_token_ids": self._stop_tokens,
            "return_token_ids": True,
            **_PLAIN_SAMPLING,
        }

    @asynccontextmanager
    async def _session(self, sampling: Sampling) -> AsyncIterator[Send]:
        limits = httpx.Limits(max_connections=None)
        timeout = httpx.Timeout(self.servers.timeout, connect=_CHECK_SECONDS)
        async with httpx.AsyncClient(headers=_headers(), timeout=timeout, limits=limits) as client:
            yield partial(self._send, client, sampling, self._common(sampling))

    async def _send(
        self, client: httpx.AsyncClient, sampling: Sampling, common: dict[str, Any], url: str,
        rows: Sequence[VerbalizeRequest],
    ) -> list[Draw]:  # fmt: skip
        temperature = sampling.temperature_of(rows[0])  # several rows share a request only if all are greedy
        embeddings = [encoded(row) for row in self._embeddings.rows(rows)]
        body = {**common, "temperature": temperature, "prompt_embeds": embeddings}
        if temperature > 0:
            body["seed"] = draw_seed(rows[0])
        try:
            response = await client.post(f"{url}/v1/completions", json=body)
        except httpx.HTTPError as err:
            reached = not isinstance(err, (httpx.ConnectError, httpx.ConnectTimeout))
            raise Unavailable(_told(err), rows_suspect=reached) from err
        _check(response, url)
        ids = _token_ids(response, url, len(rows), common["max_tokens"])
        return [finished_draw(row, written, self.target.tokenizer) for row, written in zip(rows, ids, strict=True)]


def server_engine(engine: str, target: Target, pack: Pack, config: EngineConfig) -> VllmServerEngine:
    """Load the engine named `engine` and run its self-test through the servers, which detects a wrong model behind an
    address.

    Raises:
        InputError: An address or an option is not valid.
        PackError: The pack does not fit the target, or fails the self-test on these servers.
        ServerError: No server answers.
    """
    made = VllmServerEngine(target, pack, server_config(engine), config)
    made.self_test()
    return made


def encoded(embeddings: torch.Tensor) -> str:
    """Encode (S, d) for vLLM: base64 of a file written by torch.save. Cloned, because a view would save its whole
    base."""
    buffer = io.BytesIO()
    torch.save(embeddings.clone(), buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


def _served(client: httpx.Client, url: str, wanted: str | None) -> str:
    """Name of the model on one server. Raises ServerError, or httpx.HTTPError if the server does not answer."""
    response = client.get(f"{url}/v1/models")
    if response.status_code >= 500 or response.status_code in _BUSY:
        response.raise_for_status()
    names = _names(response)
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is not None and wanted in names:
        return wanted
    if response.status_code == 401:
        raise ServerError(f"{url} needs an API key; set {KEY_VARIABLE}")
    mend = "name one with model=NAME" if wanted is None else "correct model=NAME"
    raise ServerError(f"{url} serves {', '.join(names) or 'no model'}, expected '{wanted or 'one AV'}'; {mend}")


def _names(response: httpx.Response) -> list[str]:
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, LookupError, TypeError):
        return []


def _check(response: httpx.Response, url: str) -> None:
    """Raise Unavailable if a retry may help, ServerError if the request is refused."""
    status = response.status_code
    if status in _BUSY:
        raise Unavailable(f"HTTP {status}: {_message(response)}", rows_suspect=False)
    if status >= 500:
        raise Unavailable(f"HTTP {status}: {_message(response)}", rows_suspect=True)
    if status == 401:
        raise ServerError(f"{url} needs an API key; set {KEY_VARIABLE}")
    if status != 200:
        raise ServerError(
            f"{url} refuses the prompt (HTTP {status}: {_message(response)}); it must serve the AV of this pack with "
            "--enable-prompt-embeds and room for the prompt and the explanation"
        )


def _message(response: httpx.Response) -> str:
    """The server's error message, on one line of at most 300 characters."""
    try:
        body = response.json()
        said = body.get("error", body)
        text = said.get("message", said) if isinstance(said, dict) else said
    except (ValueError, AttributeError):
        text = response.text
    return " ".join(str(text).split())[:300] or "no message"


def _token_ids(response: httpx.Response, url: str, rows: int, cap: int) -> list[list[int]]:
    """Token ids of each row's draw, in order.

    vLLM silently lowers the cap if its context has no room for prompt and explanation. So a draw cut before `cap`
    raises ServerError: it would otherwise count as truncated.
    """
    try:
        choices = sorted(response.json()["choices"], key=lambda choice: int(choice["index"]))
        ids = [[int(i) for i in choice["token_ids"]] for choice in choices]
        cut = min((len(i) for i, c in zip(ids, choices, strict=True) if c["finish_reason"] == "length"), default=cap)
    except (ValueError, LookupError, TypeError) as err:
        raise ServerError(f"{url} answers without token ids; it must run vLLM 0.32 or newer") from err
    if len(ids) != rows:
        raise ServerError(f"{url} answered {len(ids)} of {rows} prompts; it must run vLLM 0.32 or newer")
    if cut < cap:
        raise ServerError(
            f"{url} cut an explanation after {cut} of {cap} tokens; start it with room for the prompt and {cap} tokens "
            "(--max-model-len)"
        )
    return ids


def _told(err: httpx.HTTPError) -> str:
    if isinstance(err, httpx.ConnectError):
        return "cannot be reached"
    if isinstance(err, httpx.TimeoutException):
        return "did not answer in time"
    return " ".join(f"{type(err).__name__} {err}".split())[:200]
