"""Where rows come from, and the row formats they may have."""
