"""What the end-to-end tests stand on: producing, running the binary, reading the lake. No test is in here."""
