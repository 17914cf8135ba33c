"""What pods ask for together."""

from typing import Any

import pytest

from ftjob.models.resources import milli, requests_of, shown


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("1", "1"),
        (2, "2"),
        (0.5, "500m"),
        ("250m", "250m"),
        ("1500m", "1500m"),
        ("100n", "1m"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2k", "2000"),
        ("1e3", "1000"),
        ("12E", "12000000000000000000"),
        (".5", "500m"),
    ],
)
def test_quantities(quantity: Any, amount: str) -> None:
    found = milli(quantity)
    assert found is not None
    assert shown(found) == amount


@pytest.mark.parametrize("quantity", ["", "lots", "1 Gi", "1KiB", None, "1e999"])
def test_what_is_no_quantity(quantity: Any) -> None:
    assert milli(quantity) is None


def container(**fields: Any) -> dict[str, Any]:
    kinds = {key: fields.pop(key) for key in ("limits", "requests") if key in fields}
    return {"name": "c", "resources": kinds, **fields}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


def test_containers_are_added_and_limits_stand_for_missing_requests() -> None:
    both = pod(
        container(limits={"cpu": "2", "memory": "1Gi"}, requests={"cpu": 1}),
        container(limits={"cpu": "500m"}),
    )
    assert requests_of([(both, 2)]) == {"cpu": "3", "memory": str(2 * 1024**3)}


def test_an_init_container_counts_where_it_asks_for_more() -> None:
    first = [container(requests={"cpu": 3, "memory": 1})]
    assert requests_of([(pod(container(requests={"cpu": 1, "memory": 2}), initContainers=first), 1)]) == {
        "cpu": "3",
        "memory": "2",
    }


def test_a_sidecar_counts_beside_all_that_follow() -> None:
    first = [container(requests={"cpu": 1}, restartPolicy="Always"), container(requests={"cpu": 4})]
    assert requests_of([(pod(container(requests={"cpu": 2}), initContainers=first), 1)]) == {"cpu": "5"}


def test_what_the_pod_says_as_a_whole_overrules_its_containers_and_overhead_is_added() -> None:
    whole = pod(
        container(requests={"cpu": 1, "memory": 1}), resources={"requests": {"cpu": 8}}, overhead={"cpu": 1}
    )
    assert requests_of([(whole, 1)]) == {"cpu": "9", "memory": "1"}


def test_what_is_no_quantity_is_left_to_the_api_server() -> None:
    assert requests_of([(pod(container(requests={"cpu": "lots", "memory": 1})), 1)]) == {"memory": "1"}


@pytest.mark.parametrize("amount", ["9" * 6000, "0." + "9" * 6000, "٣"])
def test_what_python_can_not_count_is_no_quantity(amount: str) -> None:
    assert milli(amount) is None


def test_amounts_of_many_digits_are_written() -> None:
    many = pod(container(requests={"nvidia.com/gpu": "9" * 40 + "Ei"}))
    assert requests_of([(many, 2)])["nvidia.com/gpu"].startswith("2")
