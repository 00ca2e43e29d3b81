"""What the service says of itself in /openapi.json, held against what it does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from icm_serve.limits import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed; it is in the extra test")
ALLOWED = {200, 400, 404, 413, 422, 503}


def test_each_address_keeps_to_its_description(serve, png, blob) -> None:
    """Requests that the description allows, by schemathesis; statuses, media types and JSON are as described."""
    service = serve(Limits(body=50_000, pixels=20_000))
    address = f"http://127.0.0.1:{service.port}"
    schema = schemathesis.openapi.from_dict(service.ask("GET", "/openapi.json").json)
    schema.config.update(base_url=address)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/encode", "/decode", "/refine", "/info", "/compare"}
    seen: dict[str, set[int]] = {operation.path: set() for operation in operations}

    for operation in operations:

        @settings(
            max_examples=15, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(), body=st.sampled_from([png, blob, b"", png[:50], blob[:30]]))
        def asks(case: Any, body: bytes) -> None:
            if case.method == "POST":
                case.body = body
            answer = case.call()
            case.validate_response(answer, checks=[
                schemathesis.checks.not_a_server_error,
                *schemathesis.checks.CHECKS.get_by_names(
                    ["status_code_conformance", "content_type_conformance", "response_schema_conformance"]
                ),
            ])  # fmt: skip
            seen[case.path].add(answer.status_code)

        asks()
    for path, statuses in seen.items():
        assert statuses <= ALLOWED, (path, statuses)
    assert all(200 in seen[path] for path in ("/models", "/limits", "/health", "/metrics"))
    assert 200 in seen["/info"] and 400 in seen["/info"]
