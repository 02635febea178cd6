"""Bodies that bring files: JSON with the files in base64, or a form (multipart/form-data) with the files as they are."""

import logging
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from mezzotint.serve.http.problems import Problem
from mezzotint.serve.http.schemas import MAX_CLASSES

Schema = TypeVar("Schema", bound=BaseModel)
MAX_FIELDS = MAX_CLASSES + 64  # of a form; a list is a field that is repeated
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # its warnings repeat bytes of the body


def read(schema: type[Schema], content_type: str, body: bytes) -> Schema:
    """A body as its schema has it. Raises Problem and RequestValidationError; takes a while for a large one."""
    kind, options = parse_options_header(content_type)
    try:
        match kind:
            case b"application/json":
                return schema.model_validate_json(body)
            case b"multipart/form-data":
                return schema.model_validate(_fields(body, options.get(b"boundary")), strict=False)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
    raise Problem(415, "send application/json or multipart/form-data")


def _fields(body: bytes, boundary: bytes | None) -> dict[str, Any]:
    """The fields of a form: texts, and files as bytes; lists where they are repeated. Nothing is written to disk."""
    fields: dict[str, Any] = {}
    count, whole = 0, False

    def add(name: bytes | None, value: Any) -> None:
        nonlocal count
        count += 1
        if count > MAX_FIELDS:
            raise FormParserError
        key = (name or b"").decode()
        if key in fields:
            old = fields[key]
            fields[key] = [*(old if isinstance(old, list) else [old]), value]
        else:
            fields[key] = value

    def add_field(field: Field) -> None:
        add(field.field_name, (field.value or b"").decode())

    def add_file(file: File) -> None:
        file.file_object.seek(0)
        add(file.field_name, file.file_object.read())

    def end() -> None:
        nonlocal whole
        whole = True

    try:
        in_memory = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
        parser = FormParser("multipart/form-data", add_field, add_file, end, boundary, config=in_memory)
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError, AssertionError):  # the last where a part has no head
        whole = False
    if not whole:
        raise Problem(422, f"body: not a complete form of at most {MAX_FIELDS} fields, as curl -F sends")
    return fields
