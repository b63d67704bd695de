"""What the user wants: sections, loading, explanations, the schema, and new recipes."""
