"""Roles and permissions. The graphql function checks them first, and each command function checks
them again."""

from dataclasses import dataclass, field
from enum import Enum

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
    """The user that a request comes from.

    `uid`: the user's id; None for an anonymous user. `problem`: why the token that was sent is not
    valid. `expires`: when the token is no longer taken, in seconds since 1970; None without one.
    """

    uid: str | None = None
    role: Role = Role.READER
    problem: str | None = None
    expires: float | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Return the name under which events and records store the actor."""
        return self.uid or "nobody"

    def may(self, permission: Permission) -> bool:
        return permission in _ALLOWS[self.role]

    def may_see(self, owner: str) -> bool:
        """Return True when the personal data of the user `owner` may be shown to this actor."""
        return self.role is Role.ADMIN or (self.uid is not None and self.uid == owner)


ANONYMOUS = Actor()
DEVELOPER = Actor("developer", Role.ADMIN)
"""The actor of requests without a token on a machine where signing in is not required."""
SYSTEM = Actor("system", Role.ADMIN)
"""The shop itself."""


def require(permission: Permission, actor: Actor) -> None:
    """Raise Unauthenticated or Forbidden unless the actor has the permission."""
    if actor.may(permission):
        return
    needed = f"this needs the permission '{permission.value}'"
    if actor.uid is None:
        raise Unauthenticated(actor.problem or f"{needed}; sign in, and send your ID token as Authorization: Bearer")
    raise Forbidden(f"{needed}, which the role '{actor.role.value}' does not have; ask an admin for another role")


def require_self(owner: str, actor: Actor) -> None:
    """Raise Forbidden unless the actor is the user `owner` or an admin."""
    if not actor.may_see(owner):
        raise Forbidden("this belongs to another user; only its owner or an admin may do this")
