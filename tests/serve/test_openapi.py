"""The service keeps what its own OpenAPI document says, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema

from recsys.serve.app import create_app
from recsys.store import Store, open_store
from tests.serve.asking import Client, settings_for
from tests.store.making import make

#: How what the document does not allow may be answered.
REFUSALS = [400, 404, 405, 406, 414]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    with open_store(f"sqlite:///{folder / 'store'}") as opened:
        for week in ("2026-W46", "2026-W47"):
            make(week, ["ada", "0", "ä/ö"]).publish(opened)
        yield opened


@pytest.fixture(scope="module")
def api(store: Store) -> BaseSchema:
    app = create_app(settings_for(), store)
    refusals = {"negative_data_rejection": {"expected-statuses": REFUSALS}}
    config = schemathesis.Config.from_dict({"checks": refusals})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


def fuzz(api: BaseSchema, mode: GenerationMode, examples: int) -> set[int]:
    """Send what the document allows, or what it does not, to every operation.

    Returns:
        The statuses that were answered.
    """
    statuses = set()
    for found in api.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.path_parameters:
            continue  # nothing to be sent wrong

        @hypothesis.settings(
            max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case) -> None:
            statuses.add(case.call_and_validate().status_code)

        send()
    return statuses


EXAMPLES = [
    pytest.param(40, id="short"),
    pytest.param(1000, id="long", marks=pytest.mark.soak),
]


@pytest.mark.parametrize("examples", EXAMPLES)
def test_what_the_document_allows_is_answered_as_it_says(api: BaseSchema, examples: int) -> None:
    statuses = fuzz(api, GenerationMode.POSITIVE, examples)
    assert {200, 404} <= statuses <= {200, 404, 406}


@pytest.mark.parametrize("examples", EXAMPLES)
def test_what_the_document_does_not_allow_is_refused(api: BaseSchema, examples: int) -> None:
    statuses = fuzz(api, GenerationMode.NEGATIVE, examples)
    # Some of what is wrong reads as right once it is in an address: schemathesis knows which.
    assert 400 in statuses
    assert statuses <= {200, *REFUSALS}


def test_the_document_says_where_everything_is(store: Store) -> None:
    client = Client(store)
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path in document["paths"]:
        filled = path.replace("{user}", "ada").replace("{edition}", "2026-W47")
        assert client.get(filled).status == 200, path
    client.close()
