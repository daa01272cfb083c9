"""Worker classes: they build the engine's options, run hooks and end well."""
