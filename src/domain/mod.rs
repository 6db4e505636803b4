//! The words of the trade: pure types and state machines, no I/O.
