"""Item text and pictures to vectors."""

from recsys.core.registry import Registry

NAMES = {
    "minilm": "recsys.items.encoders.minilm:MiniLM",
}
ENCODERS = Registry("item encoder", NAMES)
