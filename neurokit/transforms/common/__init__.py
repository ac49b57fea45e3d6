"""What several transforms need; torch is imported by its modules, not here, so that listings stay light."""
