"""Equality as the tests mean it: of values and of types, all the way down."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(mine: Any, theirs: Any) -> None:
    """Fails unless two values are equal in value, type, dtype and shape, and so are all their parts."""
    assert type(mine) is type(theirs), f"{type(mine)} is not {type(theirs)}"
    if isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert mine.shape == theirs.shape
        for one, other in zip(mine.flat, theirs.flat, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, (np.ndarray, np.generic)):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(mine, theirs)
    elif isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key in theirs:
            assert_same(mine[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, float):
        np.testing.assert_equal(mine, theirs)
    else:
        assert mine == theirs
