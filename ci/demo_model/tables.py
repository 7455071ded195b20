"""How the long tables of this package are written: one line of words instead of a column."""


def listed(text: str, mark: str | None = None) -> list[str]:
    """The words of the text, apart by white space or by the mark."""
    return text.split(mark)
