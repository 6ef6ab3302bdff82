"""The view that a figure shows, carried in the figure itself, so that the window can open exactly that. No Qt.

PNG: a tEXt chunk. JPEG: COM segments. SVG: its metadata element. PDF: the document's XMP. Each holds the JSON of
`ViewState.to_json` in ASCII after a mark.
"""

from __future__ import annotations

import html
import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Final

from viewer.errors import UserError

MARK: Final = "pi0-attention view"
OTHER: Final = "other"
"""The key of the second file in a view's JSON."""
PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
MOST_BYTES: Final = 1 << 30
SEGMENT: Final = 60_000
"""A JPEG segment holds 65,533 bytes."""


def ascii_json(view: str) -> str:
    """The JSON of a view in ASCII, which every format can hold."""
    return json.dumps(json.loads(view), separators=(",", ":"), ensure_ascii=True)


def with_other(view: str, other: str) -> str:
    """The JSON of a view of two files, with the way from the first to the second."""
    return json.dumps({**json.loads(view), OTHER: other}, separators=(",", ":")) if other else view


def way_to(other: Path, file: Path) -> str:
    """Where the second file lies, seen from the first; its name alone where no way leads there."""
    try:
        return Path(os.path.relpath(other.resolve(), file.resolve().parent)).as_posix()
    except (OSError, ValueError):
        return other.name


def other_of(view: str) -> str:
    """The way to the second file of a view; empty where it has none."""
    try:
        made = json.loads(view)
    except ValueError:
        return ""
    found = made.get(OTHER, "") if isinstance(made, dict) else ""
    return found if isinstance(found, str) and "\0" not in found else ""


def second_file(file: Path, way: str, what_to_do: str) -> Path:
    """The second file of a view, looked for from the first one; UserError says what to give where it is not there."""
    for path in (file.parent / way, file.parent / Path(way).name):
        if path.is_file():
            return path
    name = Path(way).name[:80]
    raise UserError(f"This view is a difference to {name}, which is not where it was; {what_to_do}.")


def into_png(picture: bytes, view: str) -> bytes:
    """The PNG with a tEXt chunk after its header."""
    body = b"tEXt" + MARK.encode() + b"\0" + ascii_json(view).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end = len(PNG_HEAD) + 25  # the IHDR chunk
    return picture[:end] + chunk + picture[end:]


def into_jpg(picture: bytes, view: str) -> bytes:
    """The JPEG with comment segments after its first one."""
    text, made = ascii_json(view).encode(), b""
    for start in range(0, len(text), SEGMENT):
        body = MARK.encode() + b"\0" + text[start : start + SEGMENT]
        made += b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body
    # APP0, which says that it is JFIF, has to come first.
    end = 4 + struct.unpack(">H", picture[4:6])[0] if picture[2:4] == b"\xff\xe0" else 2
    return picture[:end] + made + picture[end:]


def into_svg(picture: bytes, view: str) -> bytes:
    """The SVG with a metadata element before its drawing."""
    element = f'<metadata id="pi0-attention-view">{html.escape(ascii_json(view), quote=False)}</metadata>\n'
    return picture.replace(b"<defs>", element.encode() + b"<defs>", 1)


def xmp(view: str, title: str) -> bytes:
    """The XMP of a PDF."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:pi0="https://pi0-attention/ns/">'
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{html.escape(title)}</rdf:li></rdf:Alt></dc:title>'
        f"<pi0:view>{html.escape(ascii_json(view), quote=False)}</pi0:view>"
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()


def json_of(given: str) -> str:
    """The JSON of a view: as given, or what the figure of that name carries."""
    return given if given.lstrip().startswith("{") else view_of(given)


def view_of(name: str) -> str:
    """The JSON of the view that a figure carries; UserError with one sentence where there is none."""
    path = Path(name)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path.name} is too large to be a figure of pi0-export.")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"“{name[:80]}” is neither the JSON of a view nor a figure that can be read ({reason}); "
            "copy the view with “Copy view as command”, or name a figure that pi0-export wrote."
        ) from None
    found = _found(content)
    if found is None:
        raise UserError(f"{path.name} carries no view; name a PNG, JPG, PDF or SVG that pi0-export wrote.")
    return found


def _found(content: bytes) -> str | None:
    if content.startswith(PNG_HEAD):
        return _in_png(content)
    if content.startswith(b"\xff\xd8"):
        return _in_jpg(content)
    if content.startswith(b"%PDF"):
        match = re.search(rb"<pi0:view>(.*?)</pi0:view>", content, re.DOTALL)
    else:
        match = re.search(rb'<metadata id="pi0-attention-view">(.*?)</metadata>', content, re.DOTALL)
    return html.unescape(match[1].decode("ascii", "replace")) if match else None


def _in_png(content: bytes) -> str | None:
    at = len(PNG_HEAD)
    while at + 8 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if kind == b"tEXt" and body.startswith(MARK.encode() + b"\0"):
            return body[len(MARK) + 1 :].decode("ascii", "replace")
        at += 12 + length
    return None


def _in_jpg(content: bytes) -> str | None:
    at, parts = 2, []
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] not in {0xDA, 0xD9}:
        length = struct.unpack(">H", content[at + 2 : at + 4])[0]
        body = content[at + 4 : at + 2 + length]
        if content[at + 1] == 0xFE and body.startswith(MARK.encode() + b"\0"):
            parts.append(body[len(MARK) + 1 :].decode("ascii", "replace"))
        at += 2 + length
    return "".join(parts) if parts else None
