//! The record: every attempt and every end as JSON lines, written by a thread of its own.
