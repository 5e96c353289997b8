"""Settings chosen on validation: what the verb ``tune`` needs."""
