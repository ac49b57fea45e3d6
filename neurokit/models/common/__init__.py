"""Network definitions and their helpers; they need torch at import, so the registry's listings stay light."""
