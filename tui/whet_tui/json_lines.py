"""Data as one line of JSON that may go to a terminal."""

import json


def json_line(plain: object) -> str:
    """JSON on one line. What JSON lets through raw and a terminal could obey or hide is written as its escape."""
    text = json.dumps(plain, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
