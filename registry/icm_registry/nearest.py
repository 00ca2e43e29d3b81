"""Messages for names that are not known, with the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``name``, or None when nothing resembles it.

    >>> nearest("multiscale", ["multi_scale", "one_scale"])
    'multi_scale'
    """
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A sentence about an unknown name.

    >>> unknown("adapter", "sicmh.multiscale", ["sicmh.multi_scale", "sicmh.one_scale"])
    "unknown adapter 'sicmh.multiscale'; did you mean 'sicmh.multi_scale'? known: sicmh.multi_scale, sicmh.one_scale"
    """
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"; did you mean {guess!r}? known: " if guess else "; known: "
    return f"unknown {what} {name!r}{hint}{', '.join(names) or 'none is installed'}"
