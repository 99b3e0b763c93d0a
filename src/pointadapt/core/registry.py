"""Names to classes: the one mechanism by which backbones, methods, tasks and datasets are found.

A class registers itself where it is defined; the registry imports every module of its package (and
every entry point of its group, for plug-ins) the first time it is asked. So adding a thing is
adding one file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from .errors import PointAdaptError, UnknownNameError, first_line

T = TypeVar("T")
C = TypeVar("C")


class Registry(Generic[T]):
    """A table of named classes of one kind.

    Args:
        kind: what the table holds, in the singular, for messages ("method").
        group: the entry-point group that plug-ins use ("pointadapt.methods").
        packages: the packages whose modules register themselves; by default the one of that name.
    """

    def __init__(self, kind: str, group: str, *packages: str) -> None:
        self.kind, self.group, self.packages = kind, group, packages or (group,)
        self._table: dict[str, type[T]] = {}
        self.families: dict[str, Any] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator that enters the class under ``name`` and sets its ``name`` attribute.

        Raises:
            ValueError: another class has that name. (The same one again, as on a reload, may.)
        """

        def enter(cls: type[C]) -> type[C]:
            present = self._table.get(name)
            if present is not None and _path(present) != _path(cls):
                raise ValueError(
                    f"two {self.kind}s are called {name!r}: {_path(present)} and {_path(cls)}"
                )
            entry: Any = cls
            entry.name = name
            self._table[name] = entry
            return cls

        return enter

    def family(self, name: str) -> Callable[[type[C]], type[C]]:
        """Class decorator for classes of another library: "name:member" is ``cls.member(member)``.

        A family's members are not iterated over: asking for them may import that library.
        """

        def enter(cls: type[C]) -> type[C]:
            self.families[name] = cls
            return cls

        return enter

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first, for modules that ask the registry while they are imported
        try:
            self._import_all()
        except BaseException:
            self._loaded = False  # so that a second try does not find half a table
            raise

    def _import_all(self) -> None:
        for package in self.packages:
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{package}.{module.name}")
        load_plug_ins(self.group)

    def _look_for(self, name: str) -> None:
        """Import what defines ``name``: the module of that name alone, where there is one."""
        if name in self._table:
            return
        if not self._loaded and name.isidentifier() and not name.startswith("_"):
            for package in self.packages:
                place = importlib.import_module(package).__path__
                if any(module.name == name for module in pkgutil.iter_modules(place)):
                    importlib.import_module(f"{package}.{name}")
        if name not in self._table:
            self._load()

    def __getitem__(self, name: str) -> type[T]:
        self._look_for(name)
        family, colon, member = name.partition(":")
        if colon and family in self.families:
            return self.families[family].member(member)
        if name not in self._table:
            known = [*self._table, *(f"{family}:…" for family in self.families)]
            raise UnknownNameError(self.kind, name, known)
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._table))

    def __contains__(self, name: str) -> bool:
        self._look_for(name)
        return name in self._table


def load_plug_ins(group: str) -> None:
    """Import what installed packages have entered in the entry-point group.

    Raises:
        PointAdaptError: one cannot be imported.
    """
    for point in entry_points(group=group):
        try:
            point.load()
        except Exception as error:
            raise PointAdaptError(
                f"the plug-in {point.name!r} ({point.value}) cannot be loaded: "
                f"{first_line(error)}: repair or uninstall it"
            ) from error


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
