//! Object stores and the durable local writer. Does I/O, decides nothing.
