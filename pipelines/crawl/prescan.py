"""The charset and the language that a page's first bytes declare, as a browser looks for them before it parses."""

import re

PRESCAN_BYTES = 1024  # HTML standard, 13.2.3.3: how far a browser looks for a meta tag
_XML = re.compile(rb"<\?xml\s[^>]{0,256}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})[\"']", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--(?:>|->|.*?-->)", re.DOTALL)
_META = re.compile(rb"<meta(?=[\s/])", re.IGNORECASE)
_OTHER_TAG = re.compile(rb"</?[A-Za-z][^\s>]*")
_NO_TAG = re.compile(rb"<[!/?][^>]*>")
# HTML standard, "get an attribute"; a value without quotes ends at white space or `>`.
_ATTRIBUTE = re.compile(rb"[\s/]*(=?[^\s/>=]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]*)))?")
_IN_CONTENT = re.compile(rb"charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s;\"']+))", re.IGNORECASE)


def declared_charset(data: bytes) -> str | None:
    """The label of the first meta tag in the first 1024 bytes that names a charset, else an XML declaration's.

    The algorithm is the HTML standard's "prescan a byte stream to determine its encoding" (13.2.3.3): what lies in
    comments or in other tags' attributes does not count, and `content` counts with http-equiv=content-type alone.
    """
    head = data[:PRESCAN_BYTES]
    at = head.find(b"<")
    while at >= 0:
        comment = _COMMENT.match(head, at)
        if comment is not None:
            end = comment.end()
        elif head.startswith(b"<!--", at):
            break
        elif (tag := _META.match(head, at)) is not None:
            attributes, end = _attributes(head, tag.end())
            if (label := _label(attributes)) is not None:
                return label.decode("ascii", "replace")
        elif (tag := _OTHER_TAG.match(head, at)) is not None:
            _, end = _attributes(head, tag.end())
        else:
            other = _NO_TAG.match(head, at)
            end = other.end() if other else at + 1
        at = head.find(b"<", end)
    xml = _XML.match(head.lstrip())
    return xml[1].decode("ascii") if xml else None


def _attributes(head: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    """The attributes of a tag from behind its name on, the first of a name wins, and where the tag ends."""
    found: dict[bytes, bytes] = {}
    while (match := _ATTRIBUTE.match(head, at)) is not None:
        value = next((group for group in match.groups()[1:] if group is not None), b"")
        found.setdefault(match[1].lower(), value)
        at = match.end()
    return found, at


def _label(attributes: dict[bytes, bytes]) -> bytes | None:
    """The charset that a meta tag names."""
    if attributes.get(b"charset", b"").strip():
        return attributes[b"charset"].strip()
    if attributes.get(b"http-equiv", b"").strip().lower() != b"content-type":
        return None
    match = _IN_CONTENT.search(attributes.get(b"content", b""))
    return next((group for group in match.groups() if group), None) if match else None


_TAG = re.compile(r"([A-Za-z]{2,3}|[A-Za-z]{5,8})((?:-[A-Za-z0-9]{1,8}){0,6})")


def language_tag(raw: str | None) -> str | None:
    """A language tag of BCP 47's shape (RFC 5646), its parts in their usual case; None for anything else.

    `en_US`, as many systems write it, is read as `en-US`.
    """
    match = _TAG.fullmatch((raw or "").strip().replace("_", "-"))
    if match is None:
        return None
    parts = [match[1].lower()]
    for part in match[2].split("-")[1:]:
        is_extension = any(len(p) == 1 for p in parts)
        if len(part) == 2 and not is_extension:
            parts.append(part.upper())  # a region
        elif len(part) == 4 and part.isalpha() and not is_extension:
            parts.append(part.title())  # a script
        else:
            parts.append(part.lower())
    return "-".join(parts)
