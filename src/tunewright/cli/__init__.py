"""The command line: a lazy table of verbs, and one short file a verb."""
