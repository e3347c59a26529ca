//! The consumer thread and the dead-letter producer. Does I/O, decides nothing.
