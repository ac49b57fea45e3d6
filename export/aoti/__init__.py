"""AOTInductor packages: what is compiled, how, where it may be opened, runner and probe."""
