"""Queries, passages and judgements: read from the files there are, and made into rows for rerankers."""
