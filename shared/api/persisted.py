"""Automatic persisted queries, as Apollo and urql send them: the SHA-256 of a query that this
process has seen."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from graphql import GraphQLError

from shared.domain.errors import Invalid
from shared.runtime.engines import Engines

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Unknown(GraphQLError):
    """The client sends the query's text then. Message and code are Apollo's, which clients
    compare."""

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound", extensions={"code": "PERSISTED_QUERY_NOT_FOUND"})


class Unsupported(GraphQLError):
    """The client always sends the text from now on."""

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotSupported", extensions={"code": "PERSISTED_QUERY_NOT_SUPPORTED"})


class PersistedQueries:
    """The texts that were used last, `most` characters altogether; with 0 none are kept. One text
    takes a tenth at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._texts = OrderedDict[str, str]()

    def text(self, digest: str) -> str:
        """Return the query with this SHA-256. Raise Unsupported or Unknown."""
        if self._most == 0:
            raise Unsupported
        if digest not in self._texts:
            raise Unknown
        self._texts.move_to_end(digest)
        return self._texts[digest]

    def keep(self, digest: str, text: str) -> None:
        """Keep the query, and forget those that were not used for the longest time."""
        if digest in self._texts or len(text) > self._most // 10:
            return
        self._texts[digest] = text
        self._size += len(text)
        while self._size > self._most:
            _, forgotten = self._texts.popitem(last=False)
            self._size -= len(forgotten)


@lru_cache(maxsize=1)
def persisted_queries(engines: Engines) -> PersistedQueries:
    """Return those of this process."""
    return PersistedQueries(engines.settings.max_persisted_characters)


def with_text(fields: Mapping[str, Any], queries: PersistedQueries) -> Mapping[str, Any]:
    """Return the fields of a request with its query's text, and keep a text that comes with its
    hash.

    Raise Invalid, Unsupported or Unknown.
    """
    extensions, text = fields.get("extensions"), fields.get("query")
    named = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
    if named is None:
        return fields
    given = named.get("sha256Hash") if isinstance(named, dict) and named.get("version") == 1 else None
    digest = given.lower() if isinstance(given, str) else ""
    if not _HASH.fullmatch(digest):
        raise Invalid("`extensions.persistedQuery` must be {version: 1, sha256Hash: 64 hexadecimal digits}")
    if not text:
        return {**fields, "query": queries.text(digest)}
    if sha256(str(text).encode("utf-8", "surrogatepass")).hexdigest() != digest:
        raise Invalid(
            "`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`; send that, or only `query`"
        )
    queries.keep(digest, str(text))
    return fields
