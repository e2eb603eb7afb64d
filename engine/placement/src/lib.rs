//! Which clusters a fleet object reaches, and the exact objects each of them gets.
