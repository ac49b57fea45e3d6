"""Models from elsewhere: files of other tools, and other libraries' neurons."""
