"""How a request is signed, so that who gets it knows that it is ours and that nobody changed it (docs/webhooks.md)."""

import hashlib
import hmac

DELIVERY = "x-whet-delivery"
TIMESTAMP = "x-whet-timestamp"
SIGNATURE = "x-whet-signature"
VERSION = "v1"


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """Return the HMAC-SHA256 over the seconds of `timestamp`, a dot and the body, as `v1=` and hexadecimal digits."""
    mac = hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256)
    return f"{VERSION}={mac.hexdigest()}"


def signed_headers(secret: str, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return a request's headers; the delivery's id is the same in every attempt, the rest is the attempt's own."""
    return {
        "content-type": "application/json",
        "user-agent": "whet",
        DELIVERY: delivery_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: signature(secret, timestamp, body),
    }
