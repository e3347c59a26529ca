//! The sink task: pure state machines that decide what is written, published and committed. No clock, no I/O.
