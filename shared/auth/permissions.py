"""Who may do what. Every door asks here: the graphql function, and each command function again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from shared.domain.errors import Forbidden, Unauthenticated


class Permission(Enum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


class Role(Enum):
    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


_ALLOWS = {
    Role.READER: {Permission.READ},
    Role.WRITER: {Permission.READ, Permission.WRITE},
    Role.ADMIN: {Permission.READ, Permission.WRITE, Permission.ADMIN},
}


@dataclass(frozen=True)
class Actor:
    """`uid`: the user's id; None when nobody is signed in. `problem`: why the token that was sent isn't valid."""

    uid: str | None = None
    role: Role = Role.READER
    problem: str | None = None

    @property
    def name(self) -> str:
        return self.uid or "nobody"

    def may(self, permission: Permission) -> bool:
        return permission in _ALLOWS[self.role]

    def may_see(self, owner: str) -> bool:
        """Whether personal data of `owner` is shown."""
        return self.role is Role.ADMIN or (self.uid is not None and self.uid == owner)


ANONYMOUS = Actor()
DEVELOPER = Actor("developer", Role.ADMIN)
"""Who doesn't sign in, on a machine where that isn't asked for."""
SYSTEM = Actor("system", Role.ADMIN)


def require(permission: Permission, actor: Actor) -> None:
    """Raise Unauthenticated or Forbidden when the actor lacks the permission."""
    if actor.may(permission):
        return
    if actor.uid is None:
        raise Unauthenticated(actor.problem or "sign in to do this")
    raise Forbidden(f"this needs the permission {permission.value}; you are a {actor.role.value}")


def require_self(owner: str, actor: Actor) -> None:
    """Raise unless it is the actor's own, or the actor is an admin."""
    if not actor.may_see(owner):
        raise Forbidden("this belongs to somebody else")


_actor: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


class Owned(Protocol):
    @property
    def user_id(self) -> str: ...


Command = TypeVar("Command")
Thing = TypeVar("Thing", bound=Owned)


def by_its_owner(decide: Callable[[Command, Thing], Any]) -> Callable[[Command, Thing], Any]:
    """The same decision, for the thing's owner and admins only. What doesn't exist is nobody's."""

    def decide_for_owner(command: Command, thing: Thing) -> Any:
        if thing.user_id:
            require_self(thing.user_id, _actor.get())
        return decide(command, thing)

    return decide_for_owner


def for_oneself(user_id: str) -> None:
    """Raise unless what is being made is for the actor, or made by an admin."""
    require_self(user_id, _actor.get())
