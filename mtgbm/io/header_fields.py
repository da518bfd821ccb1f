"""Reading a header that anyone may have written: each field is looked at before it is used."""

from reprlib import repr as short

NOUNS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a text",
    type(None): "null",
}


def corrupt(detail):
    """The error for a file whose content contradicts itself."""
    return ValueError(f"{detail}. The file is corrupt: copy it, or save the model, again.")


def field(table, name, *kinds, where="the header"):
    """Return ``table[name]``, which must be of one of the types; a bool is no int here.

    Raises
    ------
    ValueError
        If there is no such field, or it is of another type.
    """
    nouns = " or ".join(NOUNS[kind] for kind in kinds)
    if name not in table:
        raise corrupt(f"expected {where} to have {name!r}, {nouns}, found no such field")
    return typed(table[name], *kinds, where=f"{name!r} of {where}")


def typed(value, *kinds, where):
    """Return a value of one of the types, as `field` does."""
    if type(value) not in kinds:
        nouns = " or ".join(NOUNS[kind] for kind in kinds)
        raise corrupt(f"expected {where} to be {nouns}, found {short(value)}")
    return value


def list_of(table, name, kind, where="the header"):
    """Return a list, all of whose items are of one type."""
    items = field(table, name, list, where=where)
    return [typed(item, kind, where=f"an item of {name!r} of {where}") for item in items]


def integer(table, name, least, most, where="the header"):
    """Return an integer from `least` to `most`."""
    value = field(table, name, int, where=where)
    if not least <= value <= most:
        raise corrupt(f"expected {name!r} of {where} from {least} to {most}, found {value}")
    return value
