"""One prompt to many models, and one answer made of theirs."""
