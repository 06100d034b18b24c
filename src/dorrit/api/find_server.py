"""Finds a server by what the command line calls it: FILE, MODULE, FILE:OBJECT or MODULE:OBJECT."""

import inspect
from types import ModuleType

from dorrit.api.application import Application
from dorrit.api.functions import CALLBACKS
from dorrit.api.functions import application_of as application_of_functions
from dorrit.api.server import Server, application_of
from dorrit.drive.import_file import import_module
from dorrit.errors import StartError


def find_server(server: str) -> Application:
    """Load a server.

    Args:
        server: Where it is: a file that ends with .py, or the dotted name of a module; then, for a
            `Server` object, a colon and its name there. The only `Server` of a module without one
            of the five functions needs no name.

    Raises:
        StartError: It can't be loaded, or it is not a server.
    """
    place, name = split(server)
    module = import_module(place)
    if name is None:
        found = _only_server(module, server)
        if found is None:
            return application_of_functions(vars(module), server)
    else:
        found = _find(module, place, name)
    try:
        return application_of(found, module.__file__)
    except RuntimeError as error:
        raise StartError(f"{server}: {error}") from None


def split(server: str) -> tuple[str, str | None]:
    """Split a server's place from the name of the object there, if there is one.

    >>> split("chat.py:app")
    ('chat.py', 'app')
    >>> split("chat.py")
    ('chat.py', None)
    """
    place, colon, name = server.rpartition(":")
    if not colon or "/" in name or name.endswith(".py"):
        return server, None
    return place, name


def _find(module: ModuleType, place: str, name: str) -> Server:
    found: object = module
    for part in name.split("."):
        if not part.isidentifier():
            raise StartError(f"{place}:{name}: {name!r} is not the name of an object", status=2)
        try:
            found = getattr(found, part)
        except AttributeError:
            raise StartError(f"{place}: there is no {name}{_advice(module)}") from None
    if isinstance(found, Server):
        return found
    if inspect.isclass(found) and issubclass(found, Server):
        raise StartError(
            f"{place}:{name} is a class: make an object of it there (app = {name}()), and name that"
        )
    raise StartError(
        f"{place}:{name} is not a dorrit.Server but a {type(found).__name__}{_advice(module)}"
    )


def _only_server(module: ModuleType, server: str) -> Server | None:
    """Return the one `Server` of a module that does not define any of the five functions.

    Returns:
        It, or None: there is none, or there are functions, which are what is served then.

    Raises:
        StartError: There are several of them.
    """
    if any(name in vars(module) for name in CALLBACKS):
        return None
    servers = _servers(module)
    if len({id(found) for found in servers.values()}) > 1:
        *names, last = (f":{name}" for name in servers)
        raise StartError(
            f"{server}: there are several servers: say which, {', '.join(names)} or {last}",
            status=2,
        )
    return next(iter(servers.values()), None)


def _servers(module: ModuleType) -> dict[str, Server]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Server)}


def _advice(module: ModuleType) -> str:
    names = list(_servers(module))
    return f"; did you mean :{names[0]}?" if names else ""
