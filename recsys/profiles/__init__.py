"""User profiles: what train interactions say of a user, as text, as a form, and as scores of items."""

from recsys.core.registry import Registry

NAMES = {
    "attributes": "recsys.profiles.sources.attributes:Attributes",
    "terms": "recsys.profiles.sources.terms:Terms",
    "pictures": "recsys.profiles.sources.pictures:Pictures",
    "neighbourhoods": "recsys.profiles.sources.neighbourhoods:Neighbourhoods",
}
CONCEPT_SOURCES = Registry("concept source", NAMES)
