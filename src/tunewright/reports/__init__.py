"""What people read of a run: the report page, the journal, and the words and charts they are made of. No torch."""
