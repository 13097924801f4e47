"""Secrets are in the environment; here they are taken out of whatever is about to be printed or sent."""

import os
import re

NAMED = re.compile(r"TOKEN|PASSW|SECRET|CREDENTIAL|_KEY$|APIKEY|DSN|_URL$", re.IGNORECASE)
SHORT = 6  # characters: a shorter value is found in any text


def without_secrets(text: str) -> str:
    """The text with the value of every variable of the environment that is named like a secret as its name, `[NAME]`.
    A value that is a part of another is hidden with it.
    """
    held = [(v, k) for k, v in os.environ.items() if len(v) >= SHORT and NAMED.search(k)]
    for value, name in sorted(held, key=lambda found: -len(found[0])):
        text = text.replace(value, f"[{name}]")
    return text
