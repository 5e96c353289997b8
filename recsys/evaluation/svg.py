"""What may stand in a page: text made harmless, and SVG from elsewhere checked before it is let in."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

from recsys.core.errors import ArtifactError

SPACE = "{http://www.w3.org/2000/svg}"
TAGS = {
    *("svg", "g", "defs", "title", "desc", "text", "tspan", "use", "symbol", "image", "clipPath", "mask", "marker"),
    *("path", "line", "polyline", "polygon", "rect", "circle", "ellipse"),
    *("linearGradient", "radialGradient", "stop", "pattern"),
}
# XML allows no other control characters, and a text that turns its reading direction must not turn the page's.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")
URL = re.compile(r"url\(\s*['\"]?(?!#)", re.IGNORECASE)
PICTURE = re.compile(r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+=*", re.ASCII)


def printable(text: object) -> str:
    """Return ``text`` without control characters, lone surrogates and marks that turn the reading direction."""
    return UNPRINTABLE.sub("", str(text))


def clean(text: object) -> str:
    """Return ``text`` printable and escaped for XML and HTML, quotes included."""
    return escape(printable(text))


def check_picture(uri: str, what: str) -> str:
    """Return ``uri`` if it is a picture carried in the page itself.

    Raises:
        ArtifactError: anything but a base64 ``data:`` URI of a PNG, JPEG, WebP or GIF.
    """
    if not PICTURE.fullmatch(uri):
        cause = f"not a picture that the page can carry: {printable(uri)[:40]}…"
        raise ArtifactError(f"picture of {what!r}", cause, "Give a data:image/png;base64,… URI, or none.")
    return uri


def check_svg(svg: str, what: str) -> str:
    """Return ``svg`` if it only draws: no script, no handler, no style sheet, nothing fetched from elsewhere.

    Comments, CDATA, processing instructions and entity declarations are refused as well, because an HTML parser
    reads them otherwise than the XML parser that checks them.

    Raises:
        ArtifactError: not well-formed, not an ``<svg>``, or with something that is not on the list of the harmless.
    """
    remedy = "Give one bare <svg> element of shapes and text."
    if "<!" in svg or "<?" in svg:
        raise ArtifactError(f"figure of {what!r}", "it has a declaration, a comment or CDATA", remedy)
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise ArtifactError(f"figure of {what!r}", f"it is not well-formed XML ({error})", remedy) from None
    if root.tag.removeprefix(SPACE) != "svg":
        raise ArtifactError(f"figure of {what!r}", f"it starts with <{printable(root.tag)}>", remedy)
    for element in root.iter():
        fault = _fault(element)
        if fault:
            raise ArtifactError(f"figure of {what!r}", fault, remedy)
    return svg


def _fault(element: ElementTree.Element) -> str:
    tag = element.tag.removeprefix(SPACE)
    if tag not in TAGS:
        return f"<{printable(tag)}> is not allowed"
    for name, value in element.attrib.items():
        bare = name.rpartition("}")[2].lower()
        if bare.startswith("on") or bare in ("src", "base"):
            return f"the attribute {bare} is not allowed"
        if bare == "href" and not value.startswith("#") and not PICTURE.fullmatch(value):
            return "a link leads out of the figure"
        if URL.search(value) or (bare == "style" and ("\\" in value or "@" in value)):
            return f"{bare} may fetch something from elsewhere"
    return ""
