"""The server's addresses: files in, answers out; health, metrics, and a page for people."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteError
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from ..core.errors import PointAdaptError
from ..core.foreign_text import one_line
from ..core.plain import finite
from ..core.version import __version__
from ..inference.rows import CopyForm
from ..io import SUFFIXES
from .answers import Answer, Answers, viewed
from .batches import BusyError
from .metrics import Metrics
from .plan import MOST_TOP, TOLD, Asked, Limits
from .shelf import Shelf

LONGEST_HEADER = 4000  # characters; proxies refuse longer ones
DRAINED = 4  # times the limit that are read of an upload that is too large
PAGE = Path(__file__).parent / "page"
PAGE_FILES = ("view.js", "page.js", "page.css")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
BODY = {
    "requestBody": {
        "required": True,
        "description": "The file as it is; its name says in which format. Or JSON with points.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "points": {
                            "type": "array",
                            "items": {"type": "array", "items": {"type": "number"}},
                        }
                    },
                }
            },
        },
    }
}
Form = Literal["file", "json"]


@dataclass
class Serving:
    """What the addresses share."""

    shelf: Shelf
    limits: Limits
    token: str = ""
    metrics: Metrics = field(default_factory=Metrics)
    inside: Path | None = None  # where its folder of uploads is; None: with temporary files

    def __post_init__(self) -> None:
        o = self.limits
        self.answers = Answers(self.shelf, o.batch, o.wait, o.waiting, self.metrics.watch)
        self.folder = tempfile.TemporaryDirectory(prefix="pointadapt-serve-", dir=self.inside)

    def stop(self) -> None:
        """Finish what is under way, and leave no file."""
        self.answers.stop()
        self.folder.cleanup()

    def check(self, request: Request) -> None:
        """Refuse who has no token, and pages of other servers.

        Raises:
            HTTPException: 401 or 403.
        """
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "this server answers its own page alone")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.token and not secrets.compare_digest(given.encode(), self.token.encode()):
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})

    async def predict(
        self, request: Request, adapter: str, file: str, asked: Asked, form: Form | None, view: bool
    ) -> Response:
        """The answer to the file in the request's body."""
        if not self.shelf.has(adapter):
            raise HTTPException(404, f"there is no adapter called {one_line(adapter, 80)!r}")
        name, began, status = one_line(Path(file).name, 200), time.perf_counter(), "500"
        folder = Path(tempfile.mkdtemp(dir=self.folder.name))
        path = folder / f"upload{_suffix(request, name)}"
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._receive(request, path)
                received = time.perf_counter()
                self.metrics.watch("receive", received - began)
                answer = await asyncio.wrap_future(self.answers.submit(adapter, path, asked))
                self.metrics.watch("answer", time.perf_counter() - received)
                if view:
                    answer = await asyncio.to_thread(viewed, answer)
            status = "200"
            return _response(answer, path, name, form, view)
        except TimeoutError:
            status = "504"
            raise HTTPException(504, "it took too long: send a smaller file") from None
        except BusyError as error:
            status = "503"
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from error
        except PointAdaptError as error:
            status = "422"
            raise HTTPException(422, _named(str(error), path, name)) from error
        except HTTPException as error:
            status = str(error.status_code)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self.metrics.answered(adapter, status, time.perf_counter() - began)

    async def _receive(self, request: Request, path: Path) -> None:
        """Write the body to ``path``.

        What is too large is read to its end, up to ``DRAINED`` times the limit, and not kept: who
        is still sending when the connection closes sees a broken pipe and not the answer.
        """
        most, got = self.limits.bytes, 0
        too_large = HTTPException(413, f"the file is larger than {most:,} bytes")
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > DRAINED * most:
            raise too_large
        try:
            with path.open("wb") as out:
                async for chunk in request.stream():
                    got += len(chunk)
                    if got > DRAINED * most:
                        raise too_large
                    if got <= most:
                        out.write(chunk)
        except ClientDisconnect:
            raise HTTPException(400, "the upload broke off") from None
        if got > most:
            raise too_large


def _suffix(request: Request, name: str) -> str:
    """The ending that says how to read the upload.

    Raises:
        HTTPException: it is none that is read.
    """
    if request.headers.get("content-type", "").partition(";")[0] == "application/json":
        return ".json"
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise HTTPException(
            415, f"{name!r} is of no format that is read: name the file …{', …'.join(SUFFIXES)}"
        )
    return suffix


def _named(text: str, path: Path, name: str) -> str:
    """An error with the upload's own name in the place of the server's."""
    for ours in (path, path.with_suffix(".npy")):
        text = text.replace(str(ours), name)
    return text.replace(f"{path.parent}/", "")


def _response(answer: Answer, path: Path, name: str, form: Form | None, view: bool) -> Response:
    told = {key: value for key, value in answer.told.items() if key not in ("path", "out")}
    if isinstance(told.get("labels"), dict):
        told["labels"] = {k: v for k, v in told["labels"].items() if k not in ("out", "path")}
    told["notes"] = [_named(line, path, name) for line in told.get("notes", ())]
    told = {"file": name, **told}
    if answer.file is not None and form != "json" and not view:
        return _file(answer.file, name, _summary(told))
    if view and answer.points is not None:
        labels = None if answer.labels is None else answer.labels.tolist()
        told["view"] = {"points": answer.points.tolist(), "labels": labels}
    return Response(json.dumps(finite(told)), media_type="application/json")


def _summary(told: dict[str, Any]) -> dict[str, str]:
    """What is told beside a copy, without its least where it is long; ``form=json`` has it all."""
    for left_out in ((), ("names",), ("names", "notes")):
        text = json.dumps(finite({k: v for k, v in told.items() if k not in left_out}))
        if len(text) <= LONGEST_HEADER:
            return {TOLD: text}
    return {}


def _file(file: Path, name: str, headers: dict[str, str]) -> Response:
    """The labelled copy; it is open, so its folder may go."""
    opened = file.open("rb")

    def chunks() -> Iterator[bytes]:
        with opened:
            while chunk := opened.read(1 << 20):
                yield chunk

    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    called = f"{Path(stem).stem}_labelled{file.suffix}"
    headers |= {"Content-Disposition": f'attachment; filename="{called}"'}
    return StreamingResponse(chunks(), media_type="application/octet-stream", headers=headers)


def make_app(serving: Serving, hosts: tuple[str, ...] = ()) -> FastAPI:
    """The application; ``hosts`` are the names that it answers to, any if there are none."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(serving.stop)

    app = FastAPI(
        title="pointadapt", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Classes of clouds and labels of points, by adapters on frozen backbones.",
    )  # fmt: skip
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.exception_handler(StarletteError)(_refusal)
    app.exception_handler(PointAdaptError)(_fault)
    app.exception_handler(Exception)(_own_fault)
    _open(app)
    _guarded(app, serving)
    return app


async def _refusal(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _fault(_: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _own_fault(_: Request, __: Any) -> Response:
    return JSONResponse({"error": "the server failed; its log says why"}, 500)


def _open(app: FastAPI) -> None:
    """What everybody may ask for."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok", "version": __version__}

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "page.html", headers=PAGE_HEADERS)

    @app.get("/page/{file}", include_in_schema=False)
    async def page_file(file: str) -> Response:
        if file not in PAGE_FILES:
            raise HTTPException(404, "not found")
        return FileResponse(PAGE / file, headers=PAGE_HEADERS)


def _guarded(app: FastAPI, serving: Serving) -> None:
    """What needs the token, if there is one."""
    guard = [Depends(serving.check)]

    @app.get("/adapters", dependencies=guard)
    def adapters() -> list[dict[str, Any]]:
        """The adapters: what each is called, its task, and its labels."""
        found = []
        for name in serving.shelf.folders():
            about = serving.shelf.config(name)
            found.append({
                "name": name, "task": about["task"], "method": about["method"],
                "classes": about["classes"], "parts": about.get("parts", []),
                "labels_points": serving.answers.labels_points(name),
                "predictor": serving.answers.task(name).predictor,
                "answers": serving.answers.task(name).answers,
            })  # fmt: skip
        return found

    @app.get("/metrics", dependencies=guard, response_class=Response)
    def metrics() -> Response:
        """Counts and times, as Prometheus reads them."""
        text, kind = serving.metrics.text()
        return Response(text, media_type=kind)

    @app.post("/predict/{adapter}", dependencies=guard, openapi_extra=BODY)
    @app.put("/predict/{adapter}/{file}", dependencies=guard, openapi_extra=BODY)
    async def predict(
        request: Request,
        adapter: str,
        file: str = "points.npy",
        category: Annotated[str | None, Query(max_length=200)] = None,
        top: Annotated[int, Query(ge=1, le=MOST_TOP)] = Asked.top,
        copy: CopyForm | None = None,
        form: Form | None = None,
        view: bool = False,
    ) -> Response:
        """What the adapter says of the file in the body.

        Of a file as a whole it is JSON. Where points are labelled it is the file in its own format
        with the labels in it, or as ``copy`` says (``form=json``: a summary alone). ``view`` adds
        some of the points, ``top`` says how many labels of a file are told.
        """
        asked = Asked(top, category, copy)
        return await serving.predict(request, adapter, file, asked, form, view)
