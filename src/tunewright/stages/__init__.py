"""The stages. Each is one function in its folder's stage.py; they never import each other and meet on disk."""
