"""Search texts for parts of words, in any script."""

from shared.domain.values import searchable


def search_grams(*texts: str | None) -> list[str]:
    """Return all characters and pairs of neighbours, to find parts of words in any script."""
    grams: set[str] = set()
    for text in filter(None, texts):
        plain = searchable(text)
        grams.update(plain)
        grams.update(plain[i : i + 2] for i in range(len(plain) - 1))
    return sorted(grams)


def matches(term: str, *texts: str | None) -> bool:
    """Return whether a text contains the term, which is searchable already."""
    return any(term in searchable(text) for text in texts if text)
