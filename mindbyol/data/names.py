"""File names as text that can be printed, and stored in any kind of file."""

import re

# Control characters, line ends, marks that turn the direction of writing, and bytes that are not UTF-8 (which
# os.fsdecode makes surrogates); and a backslash that looks like what these become.
_ODD = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]" r"|\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})"
)


def printable(name):
    r"""Escapes what would change a terminal or break a line; different names stay different.

    Bytes that are not UTF-8 and control characters become `\x1b`, other such characters `\u202e`; a backslash in front
    of `x` and two digits, or of `u` and four, becomes `\x5c`. All else stays as it is.

    Args:
        name (str): A name, as `os.fsdecode` gives it, or another text.

    Returns:
        str: The name on one line, encodable as UTF-8.
    """
    return _ODD.sub(_escape, str(name))


def _escape(match):
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # The byte that stands behind the surrogate.
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
