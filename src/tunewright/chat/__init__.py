"""Messages to tokens and back: render, label masks, tool calls. Needs tokenizers and jinja2, no torch."""
