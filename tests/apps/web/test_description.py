"""Requests of every kind that the API's description allows, and some beyond: no answer is an error of the server's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import squares
from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.models import Models
from elmgan.apps.web.refusal import Limits
from elmgan.apps.web.service import Site, create_app
from web_client import Client, served, tiff

JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers()))


def described() -> dict[str, Any]:
    """What the API says of itself."""
    app: FastAPI = create_app(Site(Jobs(Path(), Models(), Limits())))
    return app.openapi()


ROOT = described()
OPERATIONS = [
    (path, method)
    for path, methods in ROOT["paths"].items()
    for method in methods
    if (path, method) not in {("/api/jobs/{job}", "delete"), ("/api/count", "post")}  # the job is asked for again
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(tmp_path_factory.mktemp("served")) as client:
        yield client


@pytest.fixture(scope="module")
def job(client: Client) -> str:
    return str(client.job({"a.tif": tiff(squares(3)[:40, :40])}, labels="true")["job"])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, or nearly."""
    if "$ref" in schema:
        return values(ROOT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if several := schema.get("anyOf"):
        return st.one_of([values(each) for each in several])
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum")) | st.integers(0, 3)
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum")) | st.floats(0, 50)
    if kind == "array":
        items = [values(each) for each in schema["prefixItems"]] if "prefixItems" in schema else None
        return st.tuples(*items).map(list) if items else st.lists(values(schema["items"]), max_size=5)
    if kind == "object":
        fields = {name: values(each) for name, each in schema.get("properties", {}).items()}
        if isinstance(more := schema.get("additionalProperties"), dict):
            return st.dictionaries(st.integers(0, 3).map(str) | st.text(max_size=5), values(more), max_size=4)
        return st.fixed_dictionaries({}, optional=fields)
    return {"string": st.text(max_size=20), "boolean": st.booleans(), "null": st.none()}[str(kind)]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_request_upsets_the_server(client: Client, job: str, path: str, method: str) -> None:
    operation = ROOT["paths"][path][method]
    parameters = [each for each in operation.get("parameters", []) if each["in"] != "header"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")

    @given(st.data())
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    def ask(data: st.DataObject) -> None:
        target, query = path.replace("{job}", job), {}
        for each in parameters:
            value = data.draw(values(each["schema"]) | JUNK, label=each["name"])
            if each["in"] == "path" and each["name"] != "job":
                number = st.integers(-1, 2) if each["name"] == "number" else st.just("x")
                target = target.replace(f"{{{each['name']}}}", str(data.draw(number)))
            elif each["in"] == "query" and value is not None:
                query[each["name"]] = str(value)
        options = {} if body is None else {"content": data.draw(bodies(body))}
        headers = {"content-type": "application/json"}
        answer = client.ask(method.upper(), target, params=query, headers=headers, **options)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"]

    ask()


def bodies(schema: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Bodies that are JSON as the schema has it, other JSON, or none."""
    written = (values(schema) | JUNK).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    return written | st.binary(max_size=20)
