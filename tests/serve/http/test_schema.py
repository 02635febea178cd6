"""The OpenAPI document keeps its word: requests made from it, right and wrong, get only answers that it tells of.

What fits the document may still be refused: no schema says which classes a model has, or that eta is ddim's alone.
So "all that fits is accepted" is the one check left out.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from mezzotint.model.model import Model
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, make_limits


@pytest.fixture(scope="module")
def document(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    limits = make_limits(max_steps=20, max_n=4, max_seconds=5, max_body=2**20)
    chosen = Settings(token="none", hosts=("testserver",), log=log, limits=limits)
    service = Service(models, chosen)
    app = create_app(chosen, service)
    app.state.service = service  # its lifespan is not run here
    checks = schemathesis.config.ChecksConfig(
        negative_data_rejection=schemathesis.config.CheckConfig(expected_statuses=[400, 404, 422, 431])
    )
    configuration = schemathesis.config.SchemathesisConfig(
        projects=schemathesis.config.ProjectsConfig(default=schemathesis.config.ProjectConfig(checks=checks))
    )
    yield schemathesis.openapi.from_asgi("/openapi.json", app, config=configuration)
    service.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda m: m.value)
def test_every_answer_is_as_the_document_says(document: Any, mode: GenerationMode) -> None:
    tested = set()
    for found in document.get_all_operations():
        operation = found.ok()
        definition = operation.definition.raw
        places = {one["in"] for one in definition.get("parameters", ())}
        if mode is GenerationMode.NEGATIVE and "query" not in places and "requestBody" not in definition:
            continue  # every path is a good one, so there is nothing to do wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        ask()
        tested.add(operation.label)
    expected = {
        "GET /generate",
        "POST /v1/generate",
        "POST /v1/jobs",
        "POST /v1/edits",
        "POST /v1/images/edits",
    }
    assert tested >= expected and (mode is GenerationMode.NEGATIVE or len(tested) == 25)
