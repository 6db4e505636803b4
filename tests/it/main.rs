//! The integration tests: one binary, a file or folder per room.

mod drawn;
