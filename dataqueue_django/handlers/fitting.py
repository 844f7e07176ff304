"""How a payload and a handler's parameters fit together.

A handler has keyword parameters, whose names are the payload's keys, or one parameter named `payload`, which gets it
whole. With `takes_context` its first parameter is the JobContext.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..domain.encoding import Codec, Never, Reader, Unfit, union
from ..domain.encoding.objects import unknown
from ..domain.portable import MAX_DEPTH, described
from ..domain.records import JSON
from ..exceptions import ConfigurationError, InvalidPayload
from .foreign import foreign_codec

Convert = Callable[[Any], Any]

WHOLE = "payload"
"""The name of a parameter that takes the payload whole."""

_EMPTY = inspect.Parameter.empty
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Shape:
    """What a handler's function takes, apart from the context, and how a payload is encoded for it and decoded.

    Read from the annotations once: at registration, and again before the first payload if a name in them was not
    defined yet. One that is never defined, such as a name that only type checkers import, lets anything through.
    """

    def __init__(self, function: Callable[..., Any], takes_context: bool, signature: inspect.Signature) -> None:
        self.takes_context = takes_context
        self.signature = signature
        self.takes_whole = list(signature.parameters) == [WHOLE]
        self._positional = [name for name, p in signature.parameters.items() if p.kind in _NAMED]
        self._required = [name for name in self._positional if signature.parameters[name].default is _EMPTY]
        self._function = function
        self._read()

    def payload_from(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the payload that a call with these arguments means, not yet encoded; raises InvalidPayload."""
        if self.takes_whole:
            return self._whole_payload(args, kwargs)
        if not args:
            return kwargs
        names = self._positional
        if len(args) > len(names):
            raise InvalidPayload(f"This handler takes {len(names)} arguments, but {len(args)} were given.")
        payload = dict(zip(names, args, strict=False))
        for name in payload.keys() & kwargs.keys():
            raise InvalidPayload(f"payload.{name} was given twice.")
        return {**payload, **kwargs}

    def encode(self, payload: Any) -> JSON:
        """Return a payload as JSON, each value written as its parameter's annotation says.

        Values may be of the annotated type or JSON that stands for one. Raises InvalidPayload naming the path of the
        first value that does not fit. What nothing is known about comes back as it is: the result is yet to be checked
        for being portable.
        """
        self._finish()
        try:
            if self.takes_whole:
                return None if payload is None and self._may_be_left_out else self._codecs[WHOLE].encode(payload)
            return self._converted(payload, self._encoders, self._encode_rest)
        except Unfit as why:
            raise InvalidPayload(f"{why.path(WHOLE)} {why.says}") from None
        except RecursionError:
            raise InvalidPayload(f"{WHOLE} nests deeper than {MAX_DEPTH} levels.") from None

    def arguments(self, payload: JSON) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments for a call with a stored payload; raises InvalidPayload."""
        self._finish()
        try:
            if not self.takes_whole:
                return (), self._converted(payload, self._decoders, self._decode_rest)
            if payload is None and self._may_be_left_out:
                return (), {}
            return (), {WHOLE: self._codecs[WHOLE].decode(payload)}
        except Unfit as why:
            raise InvalidPayload(f"{why.path(WHOLE)} {why.says}") from why.__cause__

    @property
    def _may_be_left_out(self) -> bool:
        return not self._required

    def _whole_payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if len(args) == 1 and not kwargs:
            return args[0]
        if not args and set(kwargs) == {WHOLE}:
            return kwargs[WHOLE]
        if not args and not kwargs and self._may_be_left_out:
            return None
        raise InvalidPayload("This handler takes its payload as one argument, such as enqueue({...}).")

    def _converted(self, payload: Any, converters: Mapping[str, Convert], rest: Convert | None) -> dict[str, Any]:
        if payload is None:
            payload = {}
        if not isinstance(payload, Mapping):
            raise InvalidPayload(f"payload is {described(payload)}; expected an object with the handler's parameters.")
        result = {}
        for key, value in payload.items():
            convert = converters.get(key, rest)
            if convert is None:
                raise unknown(key, "is not a parameter of the handler", converters)
            try:
                result[key] = convert(value)
            except Unfit as why:
                raise why.at(key) from why.__cause__
        for name in self._required:
            if name not in result:
                raise InvalidPayload(f"payload.{name} is missing; the handler requires it.")
        return result

    def _read(self) -> None:
        """Make the codecs from the annotations."""
        reader = Reader(foreign_codec)
        names = getattr(inspect.unwrap(self._function), "__globals__", {})
        codecs: dict[str, Codec] = {}
        rest: Codec | None = None
        for name, parameter in self.signature.parameters.items():
            written = Any if parameter.annotation is _EMPTY else parameter.annotation
            codec = reader.of_parameter(written, names)
            if isinstance(codec, Never) and name in self._required:
                raise ConfigurationError(f"@job on {self._function.__qualname__}: the parameter {name!r} {codec.why}.")
            if parameter.default is None:  # as in `copy_to: str = None`
                codec = union([codec, reader.of(None)])
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                rest = codec
            else:
                codecs[name] = codec
        # Other threads may be encoding meanwhile: each of these is replaced, never changed.
        self._codecs = codecs
        self._encoders = {name: codec.encode for name, codec in codecs.items()}
        self._decoders = {name: codec.decode for name, codec in codecs.items()}
        self._encode_rest: Convert | None = rest.encode if rest else None
        self._decode_rest: Convert | None = rest.decode if rest else None
        self._finished = reader.complete

    def _finish(self) -> None:
        """Read annotations again whose names were not all known at registration: now their module is complete."""
        if self._finished:
            return
        try:
            self._read()
        except ConfigurationError as why:
            raise InvalidPayload(str(why)) from None
        self._finished = True


def shape_of(function: Callable[..., Any], takes_context: bool) -> Shape:
    """Return the shape of a handler's function; raises ConfigurationError when no payload could be given to it."""
    signature = _signature(function)
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
    return Shape(function, takes_context, signature.replace(parameters=parameters))


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return a function's signature; names in its annotations need not be defined yet."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)
