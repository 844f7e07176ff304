"""How a value of an annotated type becomes portable JSON, and that JSON the value again.

`Reader` turns an annotation into a `Codec` once; the codec then encodes and decodes any number of values.
"""

from .annotations import Reader
from .base import Anything, Codec, Never, Unfit
from .unions import union

__all__ = ["Anything", "Codec", "Never", "Reader", "Unfit", "union"]
