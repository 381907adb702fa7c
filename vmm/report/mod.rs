//! What a run prints: tables and JSON.
