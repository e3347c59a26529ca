//! The schema registry client. Does I/O, decides nothing about records.
