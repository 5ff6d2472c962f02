"""Types of attributes that are set together (``self.a, self.b = a, b``), which the reference would not find.

An attribute of the docstring that is an argument of ``__init__`` has that argument's type, any other none.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class ArgumentTypes(griffe.Extension):
    """Gives classes the attributes that their docstrings name and griffe does not see."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Add what is missing, after the members of a class were read."""
        _, _, listed = (cls.docstring.value if cls.docstring else "").partition("Attributes:\n")
        init = cls.members.get("__init__")
        types = {one.name: one.annotation for one in init.parameters} if isinstance(init, griffe.Function) else {}
        for name in re.findall(r"^ {4}(\w+): ", listed, re.MULTILINE):
            if name not in cls.members:
                cls.set_member(name, griffe.Attribute(name, annotation=types.get(name)))
