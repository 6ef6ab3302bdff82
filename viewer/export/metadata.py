"""Embed the view that a figure shows in the figure itself, from which the window can open it again. No Qt.

PNG: a tEXt chunk. JPEG: COM segments. SVG: the metadata element. PDF: the document's XMP. Each holds the JSON of
`ViewState.to_json` in ASCII, after MARK where the format names no element for it.
"""

from __future__ import annotations

import html
import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viewer.errors import UserError

if TYPE_CHECKING:
    from capture.remote.address import Location

MARK: Final = "pi0-attention view"
OTHER: Final = "other"
"""The key of the second file in a view's JSON."""
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MOST_BYTES: Final = 1 << 30
SEGMENT_BYTES: Final = 60_000
"""Of text in one JPEG segment, which holds 65,533."""


def to_ascii_json(view: str) -> str:
    """Return the JSON of a view in ASCII, which every format can hold."""
    return json.dumps(json.loads(view), separators=(",", ":"), ensure_ascii=True)


def add_second_file(view: str, other: str) -> str:
    """Return the JSON of a view with the relative path of the file that it subtracts, if it has one."""
    return json.dumps({**json.loads(view), OTHER: other}, separators=(",", ":")) if other else view


def relative_path(other: Location, file: Location) -> str:
    """Return the path of the second file relative to the first one's folder; its name alone where there is none."""
    if not isinstance(other, Path) or not isinstance(file, Path):
        return other.name
    try:
        return Path(os.path.relpath(other.resolve(), file.resolve().parent)).as_posix()
    except (OSError, ValueError):
        return other.name


def read_second_file(view: str) -> str:
    """Return the relative path of the file that a view subtracts; empty where it has none."""
    try:
        value = json.loads(view)
    except ValueError:
        return ""
    name = value.get(OTHER, "") if isinstance(value, dict) else ""
    return name if isinstance(name, str) and "\0" not in name else ""


def find_second_file(file: Location, relative: str, advice: str) -> Location:
    """Return the file that a view of `file` subtracts, from its relative path or in the same folder.

    Raises:
        UserError: It is in neither place; the message ends with `advice`.
    """
    if not isinstance(file, Path):  # the same folder alone, and no server is asked before the file is opened
        return file.with_name(Path(relative).name or file.name)
    for path in (file.parent / relative, file.parent / Path(relative).name):
        if path.is_file():
            return path
    name = Path(relative).name[:80]
    raise UserError(f"This view is a difference to {name}, which is not where it was; {advice}.")


def embed_in_png(picture: bytes, view: str) -> bytes:
    """Return the PNG with a tEXt chunk after its header."""
    body = b"tEXt" + MARK.encode() + b"\0" + to_ascii_json(view).encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    end = len(PNG_SIGNATURE) + 25  # the IHDR chunk
    return picture[:end] + chunk + picture[end:]


def embed_in_jpg(picture: bytes, view: str) -> bytes:
    """Return the JPEG with comment segments after its first segment."""
    text, segments = to_ascii_json(view).encode(), b""
    for start in range(0, len(text), SEGMENT_BYTES):
        body = MARK.encode() + b"\0" + text[start : start + SEGMENT_BYTES]
        segments += b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body
    # APP0, which says that it is JFIF, has to come first.
    end = 4 + struct.unpack(">H", picture[4:6])[0] if picture[2:4] == b"\xff\xe0" else 2
    return picture[:end] + segments + picture[end:]


def embed_in_svg(picture: bytes, view: str) -> bytes:
    """Return the SVG with a metadata element before its drawing."""
    element = f'<metadata id="pi0-attention-view">{html.escape(to_ascii_json(view), quote=False)}</metadata>\n'
    return picture.replace(b"<defs>", element.encode() + b"<defs>", 1)


def create_xmp(view: str, title: str) -> bytes:
    """Return the XMP of a PDF."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:pi0="https://pi0-attention/ns/">'
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{html.escape(title)}</rdf:li></rdf:Alt></dc:title>'
        f"<pi0:view>{html.escape(to_ascii_json(view), quote=False)}</pi0:view>"
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()


def read_view_json(text: str) -> str:
    """Return the JSON of a view: `text` itself, or what the figure of that name holds.

    Raises:
        UserError: There is no such figure, or it holds no view.
    """
    return text if text.lstrip().startswith("{") else read_view(text)


def read_view(name: str) -> str:
    """Return the JSON of the view that a figure holds.

    Raises:
        UserError: The figure cannot be read, or holds no view.
    """
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
    view = _find_view(content)
    if view is None:
        raise UserError(f"{path.name} carries no view; name a PNG, JPG, PDF or SVG that pi0-export wrote.")
    return view


def _find_view(content: bytes) -> str | None:
    if content.startswith(PNG_SIGNATURE):
        return _find_in_png(content)
    if content.startswith(b"\xff\xd8"):
        return _find_in_jpg(content)
    if content.startswith(b"%PDF"):
        match = re.search(rb"<pi0:view>(.*?)</pi0:view>", content, re.DOTALL)
    else:
        match = re.search(rb'<metadata id="pi0-attention-view">(.*?)</metadata>', content, re.DOTALL)
    return html.unescape(match[1].decode("ascii", "replace")) if match else None


def _find_in_png(content: bytes) -> str | None:
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if kind == b"tEXt" and body.startswith(MARK.encode() + b"\0"):
            return body[len(MARK) + 1 :].decode("ascii", "replace")
        at += 12 + length
    return None


def _find_in_jpg(content: bytes) -> str | None:
    at, parts = 2, []
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] not in {0xDA, 0xD9}:
        length = struct.unpack(">H", content[at + 2 : at + 4])[0]
        body = content[at + 4 : at + 2 + length]
        if content[at + 1] == 0xFE and body.startswith(MARK.encode() + b"\0"):
            parts.append(body[len(MARK) + 1 :].decode("ascii", "replace"))
        at += 2 + length
    return "".join(parts) if parts else None
