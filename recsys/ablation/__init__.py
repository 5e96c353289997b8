"""What components are worth: what the verb ``ablate`` needs."""
