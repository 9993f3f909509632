"""Who may do what. Every door asks here."""

from enum import Enum


class Permission(Enum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def require(permission: Permission, actor: str) -> None:
    """Raise when the actor lacks the permission. Until sign-in exists everybody has all of them."""
