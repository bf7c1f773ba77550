"""The service as an OpenAPI 3.1 document; its tests are generated from it, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from recsys.serve._asked import FORMATS, JSON, JSPF, LONGEST_USER, WEEK, zones
from recsys.serve._jspf import PLAYLIST_EXTENSION, TRACK_EXTENSION
from recsys.serve._playlists import FALLBACK, READY, STATUS_HEADER
from recsys.serve._problems import PROBLEM_JSON, Kind

Json = dict[str, Any]

_STRING: Final[Json] = {"type": "string"}
_DATE: Final[Json] = {"type": "string", "format": "date"}
_NUMBER: Final[Json] = {"type": "number"}
_STRINGS: Final[Json] = {"type": "array", "items": _STRING}
_STATUS: Final[Json] = {
    "type": "string",
    "enum": [READY, FALLBACK],
    "description": "fallback: the week of this edition is over, and the next edition is late.",
}


@cache
def document() -> Json:
    """The document, as a JSON value."""
    current = _playlist_path(
        "currentPlaylist",
        "The current playlist",
        "From the newest edition; with `tz`, from the newest whose Monday has begun there.",
    )
    named = _playlist_path(
        "namedPlaylist",
        "The playlist of one week",
        "From the newest revision of that week; with `tz`, not before its Monday there.",
    )
    named["parameters"].append(
        _parameter("edition", "path", "The week.", {"type": "string", "pattern": WEEK})
    )
    weekly = "/v1/users/{user}/playlists/weekly"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Weekly playlists",
            "version": version("recsys-weekly"),
            "description": "Every listener's playlist of the week. A listener's id is one segment "
            "of the path, percent-encoded.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            weekly: current,
            f"{weekly}/{{edition}}": named,
            "/health/live": _plain("live", "Whether the process answers", _object({"status"})),
            "/health/ready": _plain(
                "ready",
                "Whether playlists can be read",
                _object({"status", "edition", "revision"}, revision={"type": "integer"}),
                [Kind.STORE_UNAVAILABLE],
            ),
            "/metrics": _get("metrics", "Figures for Prometheus", {"text/plain": _STRING}, {}, []),
            "/openapi.json": _plain("openapi", "This document", {"type": "object"}),
        },
        "components": {
            "schemas": {
                "Playlist": _PLAYLIST,
                "Jspf": _JSPF,
                "Problem": _problem(Kind),
            },
        },
    }


def _object(required: Iterable[str], **properties: Json) -> Json:
    named = {name: properties.get(name, _STRING) for name in sorted({*required, *properties})}
    return {"type": "object", "required": sorted(required), "properties": named}


_TRACK: Final = _object(
    {"position", "track_id", "track_name", "artist_names", "score", "source", "because_track_id"},
    position={"type": "integer", "minimum": 1},
    track_name={"type": ["string", "null"]},
    artist_names=_STRINGS,
    score=_NUMBER,
    because_track_id={
        "type": ["string", "null"],
        "description": "The heard track that speaks loudest for this one.",
    },
)
_PLAYLIST: Final = _object(
    {"status", "edition", "user_id", "kind", "tracks", "relaxed", "valid_from", "valid_until"},
    status=_STATUS,
    user_id={"type": "string", "description": "Empty in an edition's default playlist."},
    kind={"type": "string", "enum": ["personal", "blended", "popular"]},
    tracks={"type": "array", "minItems": 1, "items": _TRACK},
    relaxed=_STRINGS,
    valid_from=_DATE,
    valid_until=_DATE,
)
_JSPF_TRACK: Final = _object(
    {"title", "creator", "identifier", "extension"},
    identifier={"type": "array", "minItems": 1, "items": {"type": "string", "format": "uri"}},
    extension=_object({TRACK_EXTENSION}, **{TRACK_EXTENSION: {"type": "object"}}),
)
_JSPF: Final = _object(
    {"playlist"},
    playlist=_object(
        {"title", "creator", "date", "extension", "track"},
        date={"type": "string", "format": "date-time"},
        extension=_object({PLAYLIST_EXTENSION}, **{PLAYLIST_EXTENSION: {"type": "object"}}),
        track={"type": "array", "minItems": 1, "items": _JSPF_TRACK},
    ),
)


def _problem(kinds: Iterable[Kind]) -> Json:
    return _object(
        {"type", "title", "status", "detail"},
        type={"type": "string", "enum": [kind.uri for kind in kinds]},
        status={"type": "integer"},
        edition={"type": "string", "description": "Of not-yet: the edition to come."},
        available_from={
            "type": "string",
            "format": "date-time",
            "description": "Of not-yet: when its week begins, or began.",
        },
        overdue={"type": "boolean", "description": "Of not-yet: its week has begun."},
    )


def _playlist_path(name: str, summary: str, description: str) -> Json:
    headers = {
        "ETag": _header("Strong, over the content."),
        "Cache-Control": _header("Until the listener's week ends at most."),
        STATUS_HEADER: {"schema": _STATUS},
    }
    kinds = [
        Kind.BAD_REQUEST,
        Kind.UNKNOWN_LISTENER,
        Kind.NO_SUCH_EDITION,
        Kind.NOT_YET,
        Kind.NOT_ACCEPTABLE,
        Kind.TOO_LONG,
        Kind.HEADERS_TOO_LARGE,
        Kind.STORE_UNAVAILABLE,
        Kind.OVERLOADED,
    ]
    content = {JSON: _ref("Playlist"), JSPF: _ref("Jspf")}
    path = _get(name, summary, content, headers, kinds)
    for operation in path.values():
        operation["description"] = description
        operation["responses"]["304"] = {"description": "As the client has it.", "headers": headers}
    path["parameters"] = [
        _parameter(
            "user",
            "path",
            f"The listener's id, at most {LONGEST_USER} characters.",
            {"type": "string", "minLength": 1, "maxLength": LONGEST_USER},
        ),
        _parameter(
            "tz",
            "query",
            "The listener's time zone, by its name in the IANA database.",
            {"type": "string", "enum": sorted(zones())},
        ),
        _parameter(
            "format",
            "query",
            "The form of the answer, whatever the request accepts.",
            {"type": "string", "enum": list(FORMATS)},
        ),
        _parameter(
            "default",
            "query",
            "Whether the edition's default playlist will do for a listener without one.",
            {"type": "boolean"},
        ),
    ]
    return path


def _plain(name: str, summary: str, schema: Json, kinds: Iterable[Kind] = ()) -> Json:
    return _get(name, summary, {JSON: schema}, {}, kinds)


def _get(
    name: str,
    summary: str,
    content: Mapping[str, Json],
    headers: Json,
    kinds: Iterable[Kind],
) -> Json:
    """GET and HEAD of a path."""
    media = {kind: {"schema": schema} for kind, schema in content.items()}
    answer = {"description": summary, "headers": headers}
    statuses: dict[int, list[Kind]] = {}
    for kind in kinds:
        statuses.setdefault(kind.status, []).append(kind)
    problems = {
        str(status): {
            "description": "; ".join(kind.title for kind in alike),
            "content": {PROBLEM_JSON: {"schema": _ref("Problem")}},
        }
        for status, alike in statuses.items()
    }
    bare = {status: {"description": one["description"]} for status, one in problems.items()}
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "responses": {"200": {**answer, "content": media}, **problems},
        },
        "head": {
            "operationId": f"{name}Head",
            "summary": f"{summary}, without the body",
            "responses": {"200": answer, **bare},
        },
    }


def _parameter(name: str, place: str, description: str, schema: Json) -> Json:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    }


def _header(description: str) -> Json:
    return {"description": description, "schema": _STRING}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
