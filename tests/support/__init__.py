"""What the tests share: a real server, raw clients, load, and what looks at processes and logs."""
