//! The Python printer.
