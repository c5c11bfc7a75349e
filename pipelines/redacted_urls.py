"""URLs without what they may say of a person, for everything that is kept or shown beside the documents.

The quarantine, previews and `clean_documents` keep a page's address for people to read; a page is found again by its
doc_id, or by the WARC file and the offset of its record, which say nothing.
"""

import re

REDACTED = "<REDACTED>"
_USER_INFORMATION = re.compile(r"(?<=://)[^/?#\s@]*+(?:@[^/?#\s@]*+)*@")
# A run can begin only where another character ends, so that a long run costs no more than one look at it.
_LOCAL = r"[\w.+~!$'*-]|%(?!40)[0-9A-Fa-f]{2}"
_EMAIL = re.compile(rf"(?<![\w.+~!$'*%-])(?:{_LOCAL})++(?:@|%40)[\w-]++(?:(?:\.|%2[Ee])[\w-]++)+")
_PARAMETER = re.compile(r"(?:[?&;#]|%3[FBfb]|%26)([^=&;#?/\s%]{1,64})(?:=|%3[Dd])")
_VALUE = re.compile(r"(?:[^&;#?\s%]|%(?!26|3[Bb]))*")
_NOT_A_LETTER = re.compile(r"[^a-z]+")
_TELEPHONE = re.compile(r"((?:tel|sms|callto|whatsapp):)[^?&#\s]+", re.IGNORECASE)
_PRIVATE = frozenset(
    (
        *("auth", "bearer", "jwt", "key", "nonce", "otp", "pass", "passphrase", "passwd", "password", "pwd", "sig"),
        *("login", "phpsessid", "session", "sid", "user", "userid", "username", "email", "emailaddress", "mail"),
        *("firstname", "fullname", "lastname", "surname", "birthday", "dob", "iban", "ssn"),
        *("mobile", "phone", "phonenumber", "tel", "telephone"),
    )
)
_PRIVATE_ENDS = ("apikey", "accesskey", "token", "secret", "password", "sessionid", "signature", "credential", "email")


def redacted(text: str) -> str:
    """`text`, a URL or a line that may quote one, without user information, e-mail addresses and private parameters."""
    if "@" in text:
        text = _USER_INFORMATION.sub("", text)
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("<EMAIL_ADDRESS>", text)
    if "=" in text or "%3D" in text or "%3d" in text:
        text = _without_private_parameters(text)
    if ":" in text:
        text = _TELEPHONE.sub(rf"\1{REDACTED}", text)
    return text


def _without_private_parameters(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for found in _PARAMETER.finditer(text):
        name = _NOT_A_LETTER.sub("", found[1].lower())
        if found.end() >= position and (name in _PRIVATE or name.endswith(_PRIVATE_ENDS)):
            value = _VALUE.match(text, found.end())
            if value and value.end() > found.end():
                pieces += (text[position : found.end()], REDACTED)
                position = value.end()
    return "".join(pieces) + text[position:]
