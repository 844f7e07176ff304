"""Registering handlers: what cannot run is refused when the module is imported, not when the job is."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from dataqueue_django import JobContext, job
from dataqueue_django.exceptions import ConfigurationError, InvalidPayload
from dataqueue_django.handlers import Registry
from dataqueue_django.handlers.fitting import shape_of
from dataqueue_django.handlers.registry import make_handler


def one(order_id: int) -> None: ...


def other(order_id: int) -> None: ...


def whole(payload: Any) -> None: ...


def with_context(ctx: JobContext, order_id: int, *, copy_to: str = "") -> None: ...


def test_two_functions_for_one_type_are_refused_naming_both() -> None:
    registry = Registry()
    registry.register(make_handler(one, job_type="send"))
    with pytest.raises(ConfigurationError) as refused:
        registry.register(make_handler(other, job_type="send"))
    assert f"{__name__}.one and {__name__}.other" in str(refused.value)


def test_the_same_function_again_replaces_itself() -> None:
    registry = Registry()
    registry.register(make_handler(one, job_type="send"))
    registry.register(make_handler(one, job_type="send"))
    assert registry.types() == ("send",)


def test_one_file_under_two_module_names_is_one_handler(tmp_path: Path) -> None:
    source = tmp_path / "jobs.py"
    source.write_text("def send(order_id): ...\n")
    registry = Registry()
    for name in ("shop.jobs", "jobs"):
        spec = importlib.util.spec_from_file_location(name, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        registry.register(make_handler(module.send))
    assert registry.types() == ("send",)
    assert "jobs" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"job_type": ""}, "job_type is ''; expected a name of 1 to 128 characters"),
        ({"job_type": "x" * 129}, "expected a name of 1 to 128"),
        ({"job_type": " padded"}, "without spaces at either end"),
        ({"job_type": "__all__"}, "__all__"),
        ({"job_type": "a\nb"}, "printable"),
        ({"retry_on": "ValueError"}, "retry_on='ValueError'; expected exception classes"),
        ({"give_up_on": (1,)}, "expected exception classes"),
        ({"backoff": 5}, "backoff=5; expected a function"),
        ({"takes_context": "no"}, "takes_context='no'; expected True or False"),
    ],
)
def test_what_could_not_run_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_handler(one, **arguments)


def test_the_decorator_refuses_unknown_options_and_targets() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 'priorty'. Did you mean 'priority'"):
        job("decorated", priorty=3)(one)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="expected the name of the job type"):
        job(3)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="max_attempts is 0; expected a whole number"):
        job("decorated", max_attempts=0)(one)
    with pytest.raises(ConfigurationError, match="idempotency_key cannot be a default"):
        job("decorated", idempotency_key="k")(one)


def generator(order_id: int) -> Any:
    yield order_id


@pytest.mark.parametrize("function", [int, functools.partial(one, 1), 5, generator])
def test_what_is_no_plain_function_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a function|a generator function"):
        make_handler(function, job_type="odd")


def test_two_lambdas_in_one_file_are_two_functions() -> None:
    registry = Registry()
    registry.register(make_handler(lambda: 1, job_type="send"))
    with pytest.raises(ConfigurationError, match="Two handlers"):
        registry.register(make_handler(lambda: 2, job_type="send"))


def test_the_decorated_function_can_still_be_called() -> None:
    @job("registering.called")
    def double(number: int) -> int:
        """Twice the number."""
        return 2 * number

    assert double(21) == 42
    assert (double.job_type, double.__doc__) == ("registering.called", "Twice the number.")


def test_arguments_become_a_payload() -> None:
    shape = shape_of(with_context, takes_context=True)
    assert shape.payload_from((7,), {"copy_to": "x"}) == {"order_id": 7, "copy_to": "x"}
    assert shape.arguments({"order_id": 7}) == ((), {"order_id": 7})
    assert shape_of(whole, takes_context=False).payload_from(({"a": 1},), {}) == {"a": 1}
    assert shape_of(whole, takes_context=False).arguments([1]) == ((), {"payload": [1]})


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"payload\.order_id is missing"),
        ((1, 2, 3), {}, "takes 2 arguments, but 3 were given"),
        ((1,), {"order_id": 2}, r"payload\.order_id was given twice"),
        ((1,), {"copyto": 2}, r"payload\.copyto is not a parameter of the handler. Did you mean 'copy_to'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPayload, match=message):
        shape = shape_of(with_context, takes_context=True)
        shape.encode(shape.payload_from(args, kwargs))


def positional_only(order_id: int, /) -> None: ...


def any_number(*order_ids: int) -> None: ...


def no_context() -> None: ...


@pytest.mark.parametrize(
    ("function", "takes_context", "message"),
    [
        (positional_only, False, "'order_id' cannot be given by name"),
        (any_number, False, "'order_ids' cannot be given by name"),
        (no_context, True, "its first parameter must be the context"),
    ],
)
def test_functions_that_no_payload_fits_are_refused(function: Any, takes_context: bool, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        shape_of(function, takes_context)
