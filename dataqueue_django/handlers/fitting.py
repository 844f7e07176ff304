"""How a payload and a handler's parameters fit together.

A handler has keyword parameters, whose names are the payload's keys, or one parameter named `payload`, which gets it
whole. With `takes_context` its first parameter is the JobContext.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.records import JSON
from ..exceptions import ConfigurationError, InvalidPayload, did_you_mean, shown

WHOLE = "payload"
"""The name of a parameter that takes the payload as it is."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a handler's function takes, apart from the context."""

    takes_context: bool
    takes_whole: bool
    signature: inspect.Signature

    def payload_from(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the payload that a call with these arguments means; raises InvalidPayload naming what does not fit."""
        if not self.takes_whole:
            return self._named_payload(args, kwargs)
        if len(args) == 1 and not kwargs:
            return args[0]
        if not args and set(kwargs) == {WHOLE}:
            return kwargs[WHOLE]
        raise InvalidPayload("This handler takes its payload as one argument, such as enqueue({...}).")

    def check(self, payload: JSON) -> None:
        """Raise InvalidPayload when the handler could not be called with `payload`."""
        if self.takes_whole:
            return
        if payload is None:
            payload = {}
        if not isinstance(payload, Mapping):
            raise InvalidPayload(f"payload is {shown(payload)}; expected an object with the handler's parameters.")
        self._check_keys(payload)

    def arguments(self, payload: JSON) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments for a call with `payload`; raises InvalidPayload."""
        if self.takes_whole:
            return (payload,), {}
        self.check(payload)
        return (), dict(payload or {})

    def _named_payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        names = [name for name, p in self.signature.parameters.items() if p.kind in _NAMED]
        if len(args) > len(names):
            raise InvalidPayload(f"This handler takes {len(names)} arguments, but {len(args)} were given.")
        payload = dict(zip(names, args, strict=False))
        for name in payload.keys() & kwargs.keys():
            raise InvalidPayload(f"payload.{name} was given twice.")
        payload |= kwargs
        self._check_keys(payload)
        return payload

    def _check_keys(self, payload: Mapping[str, Any]) -> None:
        parameters = self.signature.parameters
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        known = [name for name, p in parameters.items() if p.kind in _NAMED]
        for key in payload:
            if key not in known and not open_ended:
                raise InvalidPayload(f"{_path(key)} is not a parameter of the handler.{did_you_mean(key, known)}")
        for name in known:
            if name not in payload and parameters[name].default is inspect.Parameter.empty:
                raise InvalidPayload(f"payload.{name} is missing; the handler requires it.")


def _path(key: object) -> str:
    """Return the path of a payload's key for a message, whatever the key holds."""
    text = str.__str__(key) if isinstance(key, str) else ""
    return f"payload.{text}" if 1 <= len(text) <= 80 and text.isprintable() else f"payload[{shown(key)}]"


def shape_of(function: Callable[..., Any], takes_context: bool) -> Shape:
    """Return the shape of a handler's function; raises ConfigurationError when no payload could be given to it."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if takes_context:
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise ConfigurationError(
                f"@job(takes_context=True) on {function.__qualname__}: its first parameter must be the context."
            )
        parameters = parameters[1:]
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise ConfigurationError(
                f"@job on {function.__qualname__}: the parameter {parameter.name!r} cannot be given by name; "
                "a payload's keys are parameter names."
            )
    whole = [p.name for p in parameters] == [WHOLE]
    return Shape(takes_context, whole, signature.replace(parameters=parameters))
