"""Network definitions and their helpers; all but `ports` need torch at import, so listings stay light."""
