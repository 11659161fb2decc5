"""Every word that a configuration may have, taken from the types, so that a new word is tested without being listed."""

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from elmgan.models import Architecture

SIZE = (64, 96)
"""Of the images that networks of one size are made for; a multiple of 32, for depths up to 5."""


def words(record: type[BaseModel], field: str) -> tuple[Any, ...]:
    """The words that a field of a record may have."""
    annotation = record.model_fields[field].annotation
    assert get_origin(annotation) is Literal, f"{field} has no words"
    return get_args(annotation)


def fields_of_words(record: type[BaseModel]) -> list[str]:
    """The fields of a record that have words."""
    return [name for name, field in record.model_fields.items() if get_origin(field.annotation) is Literal]


def architectures(*, width: int = 4, depth: int = 3) -> dict[str, Architecture]:
    """The usual words, and each other word of each field with the usual ones in the other fields; small networks."""
    return {"usual words": Architecture(width=width, depth=depth)} | {
        f"{field} {word}": Architecture.model_validate(
            {"width": width, "depth": depth, field: word, "size": SIZE if word == "pooled" else None}
        )
        for field in fields_of_words(Architecture)
        for word in words(Architecture, field)
        if word != Architecture.model_fields[field].default
    }
