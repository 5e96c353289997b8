"""User profiles: what train interactions say of a user, as text, as a form, and as scores of items."""
