"""The boundary between answers and aiohttp: requests become calls, answers become responses, faults strike."""

import asyncio
import contextlib
import gzip
import uuid
from collections.abc import AsyncGenerator
from urllib.parse import parse_qs

from aiohttp import web

from gateway.demo.faults import Hang, Reset, Slow, Truncate
from gateway.demo.wire import Answer, Call

_COMPRESSED_FROM = 128 * 1024
"""Bytes from which the real server compresses for those who accept it."""

BodyFault = Hang | Slow | Reset | Truncate


async def forever() -> None:
    """Wait until cancelled, which a client's leaving or the cluster's end does."""
    await asyncio.Event().wait()


def query_of(text: str) -> dict[str, tuple[str, ...]]:
    """Return a query's parameters, each with its values."""
    return {name: tuple(values) for name, values in parse_qs(text, keep_blank_values=True).items()}


def call_of(request: web.BaseRequest, body: bytes) -> Call:
    """Return a request as the API server sees it."""
    path, _, query = request.raw_path.partition("?")
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return Call(request.method, path, query_of(query), headers, body)


def _headers(answer: Answer) -> dict[str, str]:
    return {
        "Audit-Id": str(uuid.uuid4()),
        "Cache-Control": "no-cache, private",
        "Server": "kube-mcp-gateway-embedded-cluster",
        **({"Content-Type": answer.content_type} if answer.status not in {204, 304} else {}),
        **answer.headers,
    }


async def send(request: web.BaseRequest, call: Call, answer: Answer, faults: list[BodyFault]) -> web.StreamResponse:
    """Send an answer, with what goes wrong on the way."""
    headers = _headers(answer)
    if not isinstance(answer.body, bytes):
        return await _stream(request, answer.status, headers, answer.body)
    body = answer.body
    for fault in faults:
        if isinstance(fault, Truncate):
            body = body[: fault.after]
    if len(body) > _COMPRESSED_FROM and "gzip" in call.header("accept-encoding"):
        body = gzip.compress(body, 1)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    slow = next((fault for fault in faults if not isinstance(fault, Truncate)), None)
    if slow is None:
        return web.Response(status=answer.status, body=body or None, headers=headers)
    return await _badly(request, answer.status, headers, body, slow)


async def _stream(
    request: web.BaseRequest, status: int, headers: dict[str, str], body: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    async with contextlib.aclosing(body):
        async for chunk in body:
            await response.write(chunk)
    await response.write_eof()
    return response


async def _badly(
    request: web.BaseRequest, status: int, headers: dict[str, str], body: bytes, fault: Hang | Slow | Reset
) -> web.StreamResponse:
    if isinstance(fault, Reset) and fault.after < 0:
        abort(request)
        return web.Response(status=status)
    response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
    await response.prepare(request)
    match fault:
        case Reset(after=after):
            await response.write(body[:after])
            await asyncio.sleep(0)
            abort(request)
        case Hang(after=after):
            if after == "half":
                await response.write(body[: len(body) // 2])
            await forever()
        case Slow(bytes_per_second=rate):
            piece = max(1, rate // 10)
            for start in range(0, len(body), piece):
                await response.write(body[start : start + piece])
                await asyncio.sleep(piece / rate)
            await response.write_eof()
    return response


def abort(request: web.BaseRequest) -> None:
    """Reset the connection a request came on."""
    if request.transport is not None:
        request.transport.abort()
